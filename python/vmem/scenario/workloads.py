"""Synthetic programs: what their keys may be. Their references are made in C++, by formulas of their position
in the stream, seeded, the same bits on every machine (csrc/sim/workloads/).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from vmem import _core
from vmem.decode import Bytes, Nanoseconds, Place, decode_table, names
from vmem.errors import ConfigError
from vmem.scenario.curve import Curve, decode_curve
from vmem.traces import Trace
from vmem.traces.model import Item, Progress, References, Totals

_BLOCK = 1 << 17
_PAGE = 4096
_WORD = 8
_MASK = 2**64 - 1
_ONE = 2.0**63
"""What a share of 1 is to the core."""

Share = Annotated[float, Meta(ge=0, le=1, description="the share of stores, from 0 to 1")]
Count = Annotated[int, Meta(ge=1, description="a positive number of references")]


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program that references memory of its process, 8 bytes at a time."""

    kind: ClassVar[str]

    seed: Annotated[int, Meta(ge=0, description="a number from 0")] | None = None
    compute: Nanoseconds = 1000
    """Time on a CPU between two references: what the program does besides them, in a run over time."""

    @property
    def extent(self) -> int:
        """Bytes of memory that it maps at most."""
        raise NotImplementedError

    def check(self, at: Place) -> None:
        """Raises ConfigError for what no process can run."""
        if self.compute > 3600 * 10**9:
            at.key("compute").reject(self.compute, "at most an hour")

    def start(self, core: _core.Machine, where: _core.Start, seed: int, page: int) -> int:
        """Lets a process run it from now on; the program's number."""
        raise NotImplementedError

    def stream(self, host_seed: int, copy: int, process: int) -> int:
        """The seed of one process's stream.

        Equal workloads in two VM tables make equal references, so that modes can be compared; copies and
        processes of one VM differ.
        """
        seed = host_seed if self.seed is None else self.seed
        return _mix(_mix(_mix(seed) + copy) + process)


class Stream(Workload, frozen=True, kw_only=True):
    """So many references to `size` bytes that are mapped once."""

    size: Bytes
    references: Count = 10_000_000

    @property
    def extent(self) -> int:
        return self.size

    def check(self, at: Place) -> None:
        super().check(at)
        _check_pages(self.size, 1 << 46, at.key("size"))

    @property
    def stores(self) -> int | None:
        """The share of stores as the core takes it; None: every second reference."""
        raise NotImplementedError

    def offsets(self) -> _core.Offsets:
        """Where the references go."""
        raise NotImplementedError

    def trace(self, base: int, seed: int) -> Trace:
        """The references of a process that has `size` bytes mapped at `base`."""
        return Trace(_Reader(self, base, seed), self.kind)

    def start(self, core: _core.Machine, where: _core.Start, seed: int, page: int) -> int:
        return core.start_stream(
            where,
            offsets=self.offsets(),
            stores=self.stores,
            seed=seed,
            references=self.references,
            compute=self.compute,
            page=page,
            name=self.kind,
        )


class _Mixed(Stream, frozen=True, kw_only=True):
    """Loads and stores at random."""

    writes: Share = 0.0

    @property
    def stores(self) -> int | None:
        return int(self.writes * _ONE)


class _Drawn(_Mixed, frozen=True, kw_only=True):
    """Places drawn at random, at each of which `burst` words are referenced in a row."""

    burst: Annotated[int, Meta(ge=1, le=512, description="a number of references from 1 to 512")] = 1

    def offsets(self) -> _core.Offsets:
        drawn = self.drawn()
        return drawn if self.burst == 1 else drawn.burst(self.burst)

    def drawn(self) -> _core.Offsets:
        """The places."""
        raise NotImplementedError


class Zipf(_Drawn, frozen=True, kw_only=True):
    """Pages by Zipf's law: the k-th most popular in proportion to 1 / k**skew, popular ones scattered.

    Beyond 262,144 pages a rank is a group of neighbouring pages, alike among themselves.
    """

    kind: ClassVar[str] = "zipf"
    skew: Annotated[float, Meta(gt=0, le=8, description="an exponent above 0, at most 8")] = 0.99

    def drawn(self) -> _core.Offsets:
        return _zipf(self.size, self.skew)


class Uniform(_Drawn, frozen=True, kw_only=True):
    """Every word alike."""

    kind: ClassVar[str] = "uniform"

    def drawn(self) -> _core.Offsets:
        return _core.Offsets.uniform(self.size)


class Sequential(_Mixed, frozen=True, kw_only=True):
    """Word after word, from the start again at the end."""

    kind: ClassVar[str] = "sequential"

    def offsets(self) -> _core.Offsets:
        return _core.Offsets.strided(self.size, _WORD)


class Stride(_Mixed, frozen=True, kw_only=True):
    """Every `step` bytes, wrapping around at the end."""

    kind: ClassVar[str] = "stride"
    step: Bytes = _PAGE

    def check(self, at: Place) -> None:
        super().check(at)
        if not 0 < self.step < self.size:
            at.key("step").reject(self.step, "a positive number of bytes below the size")

    def offsets(self) -> _core.Offsets:
        return _core.Offsets.strided(self.size, self.step)


class HotCold(_Drawn, frozen=True, kw_only=True):
    """A `share` of the references goes to `hot` bytes, which move after every `phase` references."""

    kind: ClassVar[str] = "hot-cold"
    hot: Bytes
    share: Annotated[float, Meta(ge=0, le=1, description="a share of the references, from 0 to 1")] = 0.9
    phase: Count = 1_000_000

    def check(self, at: Place) -> None:
        super().check(at)
        _check_pages(self.hot, self.size, at.key("hot"))

    def drawn(self) -> _core.Offsets:
        return _core.Offsets.hot_cold(self.size, self.hot, int(self.share * _ONE), self.phase)


class PointerChase(_Mixed, frozen=True, kw_only=True):
    """From one 64-byte node to the next, each once in a round, in an order without any."""

    kind: ClassVar[str] = "pointer-chase"

    def offsets(self) -> _core.Offsets:
        return _core.Offsets.chase(self.size)


class RandomUpdate(Stream, frozen=True, kw_only=True):
    """Reads a word anywhere, writes it, goes on to the next: GUPS."""

    kind: ClassVar[str] = "random-update"

    @property
    def stores(self) -> int | None:
        return None

    def offsets(self) -> _core.Offsets:
        return _core.Offsets.updates(self.size)


class FileScan(Workload, frozen=True, kw_only=True):
    """Maps a file of the guest's disk and reads it from end to end, again and again, every `step` bytes.

    Stores among the references make pages dirty, which the kernel writes back.
    """

    kind: ClassVar[str] = "file-scan"
    size: Bytes
    references: Count = 10_000_000
    step: Bytes = 512
    writes: Share = 0.0

    @property
    def extent(self) -> int:
        return 0  # none of its own: the page cache gives way

    def check(self, at: Place) -> None:
        super().check(at)
        _check_pages(self.size, 1 << 46, at.key("size"))
        if not 0 < self.step < self.size or self.step % _WORD:
            at.key("step").reject(self.step, "a positive multiple of 8 bytes below the size")

    def start(self, core: _core.Machine, where: _core.Start, seed: int, page: int) -> int:
        return core.start_stream(
            where,
            offsets=_core.Offsets.strided(self.size, self.step),
            stores=int(self.writes * _ONE),
            seed=seed,
            references=self.references,
            compute=self.compute,
            page=0,
            name=self.kind,
            file=core.create_file(where.vm, f"{self.kind}-{where.process}", self.size),
        )


class ForkChurn(Workload, frozen=True, kw_only=True):
    """Touches `size` bytes, then forks `children` in turn: each makes its references and exits."""

    kind: ClassVar[str] = "fork-churn"
    size: Bytes
    children: Annotated[int, Meta(ge=1, description="a positive number of children")] = 1000
    references: Count = 10_000
    """Of each child."""
    writes: Share = 0.5

    @property
    def extent(self) -> int:
        return self.size

    def check(self, at: Place) -> None:
        super().check(at)
        _check_pages(self.size, 1 << 46, at.key("size"))

    def start(self, core: _core.Machine, where: _core.Start, seed: int, page: int) -> int:
        return core.start_churn(
            where,
            offsets=_core.Offsets.uniform(self.size),
            stores=int(self.writes * _ONE),
            seed=seed,
            children=self.children,
            each=self.references,
            compute=self.compute,
            page=page,
        )


class Demand(Workload, frozen=True, kw_only=True):
    """Memory that grows and shrinks by a curve of time, allocated bytes and active bytes."""

    kind: ClassVar[str] = "demand"
    curve: Annotated[Curve, Meta(description="a CSV file, or rows", extra={"decode": decode_curve})]
    writes: Share = 0.5

    @property
    def extent(self) -> int:
        return max(allocated for _, allocated, _ in self.curve)

    def start(self, core: _core.Machine, where: _core.Start, seed: int, page: int) -> int:
        return core.start_demand(
            where,
            curve=list(self.curve),
            stores=int(self.writes * _ONE),
            seed=seed,
            compute=self.compute,
            page=page,
        )


KINDS: dict[str, type[Workload]] = {
    kind.kind: kind
    for kind in (
        *(Zipf, Uniform, Sequential, Stride, HotCold, PointerChase, RandomUpdate),
        *(ForkChurn, Demand, FileScan),
    )
}


def decode_workload(value: object, at: Place) -> Workload:
    """The workload of a table with `kind`, checked."""
    if not isinstance(value, dict) or "kind" not in value:
        at.reject(value, f"a table with kind = {names(KINDS)}")
    kind = value["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        at.key("kind").reject(kind, names(KINDS))
    workload = decode_table(KINDS[kind], {key: item for key, item in value.items() if key != "kind"}, at)
    workload.check(at)
    return workload


def workload(kind: str, **keys: Any) -> Workload:
    """A synthetic program for `Process.start`: the keys are those of a scenario's `workload`.

    ConfigError names the key that is unknown, missing or wrong, and what is accepted.
    """
    return decode_workload({"kind": kind, **keys}, Place("workload"))


def _check_pages(size: int, most: int, at: Place) -> None:
    if not _PAGE <= size <= most or size % _PAGE:
        at.reject(size, f"a positive multiple of 4 KiB, at most {most} bytes")


@lru_cache(maxsize=8)
def _zipf(size: int, skew: float) -> _core.Offsets:
    """Alike ones share their tables."""
    return _core.Offsets.zipf(size, skew)


class _Reader:
    """A workload as a trace: references one by one, never all of them in memory."""

    format = "workload"
    compact = False

    def __init__(self, workload: Stream, base: int, seed: int) -> None:
        if base < 0 or base + workload.size > 1 << 63:
            raise ConfigError(f"a workload at {base:#x}; accepted are user addresses")
        self._workload, self._base, self._seed = workload, base, seed

    def items(self, progress: Progress | None) -> Iterator[Item]:
        workload, offsets = self._workload, self._workload.offsets()
        for first in range(0, workload.references, _BLOCK):
            last = min(first + _BLOCK, workload.references)
            yield References(
                *offsets.fill(
                    stores=workload.stores, seed=self._seed, base=self._base, first=first, count=last - first
                )
            )
            if progress is not None:
                progress(last, workload.references)

    def totals(self) -> Totals | None:
        return None

    def details(self) -> dict[str, str]:
        return {"workload": self._workload.kind}


def _mix(value: int) -> int:
    z = (value + 0x9E37_79B9_7F4A_7C15) & _MASK
    z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB & _MASK
    return z ^ (z >> 31)
