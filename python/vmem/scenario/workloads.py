"""Synthetic programs: streams of references by a formula, seeded, the same bits on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vmem.errors import ConfigError
from vmem.scenario.decode import Bytes, Place, decode_table, names
from vmem.traces import Trace
from vmem.traces.model import LOAD, STORE, Item, Progress, References, Totals

Numbers = npt.NDArray[np.uint64]

_BLOCK = 1 << 17
_PAGE = 4096
_WORD = 8
_MASK = 2**64 - 1
_GAMMA = 0x9E37_79B9_7F4A_7C15
_MAX_RANKS = 1 << 18
_GUIDE_BITS = 20


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """References to `size` bytes of a process's memory, 8 bytes each."""

    kind: ClassVar[str]

    size: Bytes
    references: Annotated[int, Meta(ge=1, description="a positive number of references")] = 10_000_000
    writes: Annotated[float, Meta(ge=0, le=1, description="the share of stores, from 0 to 1")] = 0.0
    seed: Annotated[int, Meta(ge=0, description="a number from 0")] | None = None

    def check(self, at: Place) -> None:
        """Raises ConfigError for what no process can map."""
        if not _PAGE <= self.size <= 1 << 46 or self.size % _PAGE:
            at.key("size").reject(self.size, "a positive multiple of 4 KiB, at most 64 TiB")

    def generator(self) -> Generator:
        raise NotImplementedError

    def trace(self, base: int, seed: int) -> Trace:
        """The references of a process that has `size` bytes mapped at `base`."""
        return Trace(_Reader(self, base, seed), self.kind)

    def stream(self, host_seed: int, copy: int, process: int) -> int:
        """The seed of one process's stream.

        Equal workloads in two VM tables make equal references, so that modes can be compared; copies and
        processes of one VM differ.
        """
        seed = host_seed if self.seed is None else self.seed
        return _mix(_mix(_mix(seed) + copy) + process)


class Generator:
    """Offsets of the references into the mapping."""

    def offsets(self, indices: Numbers, random: Numbers) -> Numbers:
        """uint64[n] byte offsets for reference numbers and as many random numbers."""
        raise NotImplementedError


class Uniform(Workload, frozen=True, kw_only=True):
    """Every word alike."""

    kind: ClassVar[str] = "uniform"

    def generator(self) -> Generator:
        return _Uniform(self.size)


class Zipf(Workload, frozen=True, kw_only=True):
    """Pages by Zipf's law: the k-th most popular in proportion to 1 / k**skew, popular ones scattered.

    Beyond 262,144 pages a rank is a group of neighbouring pages, alike among themselves.
    """

    kind: ClassVar[str] = "zipf"
    skew: Annotated[float, Meta(gt=0, le=8, description="an exponent above 0, at most 8")] = 0.99

    def generator(self) -> Generator:
        return _Zipf(self.size, self.skew)


class Sequential(Workload, frozen=True, kw_only=True):
    """Word after word, from the start again at the end."""

    kind: ClassVar[str] = "sequential"

    def generator(self) -> Generator:
        return _Strided(self.size, _WORD)


class Stride(Workload, frozen=True, kw_only=True):
    """Every `step` bytes, wrapping around at the end."""

    kind: ClassVar[str] = "stride"
    step: Bytes = _PAGE

    def check(self, at: Place) -> None:
        super().check(at)
        if not 0 < self.step < self.size:
            at.key("step").reject(self.step, "a positive number of bytes below the size")

    def generator(self) -> Generator:
        return _Strided(self.size, self.step)


KINDS: dict[str, type[Workload]] = {kind.kind: kind for kind in (Zipf, Uniform, Sequential, Stride)}


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


class _Uniform(Generator):
    def __init__(self, size: int) -> None:
        self._words = size // _WORD

    def offsets(self, indices: Numbers, random: Numbers) -> Numbers:
        return _below(random, self._words) * np.uint64(_WORD)


class _Strided(Generator):
    def __init__(self, size: int, step: int) -> None:
        self._size, self._step = np.uint64(size), np.uint64(step)

    def offsets(self, indices: Numbers, random: Numbers) -> Numbers:
        return indices * self._step % self._size


class _Zipf(Generator):
    def __init__(self, size: int, skew: float) -> None:
        pages = size // _PAGE
        self._group = -(-pages // _MAX_RANKS)
        ranks = -(-pages // self._group)
        self._last = np.uint64(pages - 1)
        share = np.cumsum(inverse_powers(ranks, skew))
        # A random number of 53 bits is below `bounds[k]` with the probability of the ranks up to k.
        self._bounds = (share / share[-1] * 2.0**53).astype(np.uint64)
        self._bounds[-1] = 1 << 53
        # Where a search begins and ends, by a number's upper bits: at the same rank, for most numbers.
        starts = np.arange((1 << _GUIDE_BITS) + 1, dtype=np.uint64) << np.uint64(53 - _GUIDE_BITS)
        self._guide = np.searchsorted(self._bounds, starts, side="right").astype(np.int32)
        self._groups = np.argsort(hashed(1, np.arange(ranks, dtype=np.uint64)), kind="stable").astype(
            np.uint64
        )

    def offsets(self, indices: Numbers, random: Numbers) -> Numbers:
        ranks = self._ranks(random >> np.uint64(11))
        again = hashed(2, random)
        pages = self._groups[ranks] * np.uint64(self._group) + _below(again, self._group)
        word = again & np.uint64(_PAGE // _WORD - 1)
        offsets: Numbers = np.minimum(pages, self._last) * np.uint64(_PAGE) + word * np.uint64(_WORD)
        return offsets

    def _ranks(self, numbers: Numbers) -> npt.NDArray[np.int32]:
        slots = (numbers >> np.uint64(53 - _GUIDE_BITS)).astype(np.int32)
        ranks = self._guide[slots]
        unsure = np.flatnonzero(ranks != self._guide[slots + 1])
        ranks[unsure] = np.searchsorted(self._bounds, numbers[unsure], side="right")
        return ranks


class _Reader:
    """A workload as a trace: references one by one, never all of them in memory."""

    format = "workload"
    compact = False

    def __init__(self, workload: Workload, base: int, seed: int) -> None:
        if base < 0 or base + workload.size > 1 << 63:
            raise ConfigError(f"a workload at {base:#x}; accepted are user addresses")
        self._workload, self._base, self._seed = workload, np.uint64(base), seed

    def items(self, progress: Progress | None) -> Iterator[Item]:
        workload, generator = self._workload, self._workload.generator()
        bound = np.uint64(int(workload.writes * 2.0**63))
        for first in range(0, workload.references, _BLOCK):
            last = min(first + _BLOCK, workload.references)
            indices = np.arange(first, last, dtype=np.uint64)
            addresses = self._base + generator.offsets(indices, hashed(self._seed, indices))
            stores = hashed(self._seed ^ _MASK, indices) >> np.uint64(1) < bound
            yield References(addresses, np.where(stores, STORE, LOAD).astype(np.uint8))
            if progress is not None:
                progress(last, workload.references)

    def totals(self) -> Totals | None:
        return None

    def details(self) -> dict[str, str]:
        return {"workload": self._workload.kind}


def hashed(seed: int, numbers: Numbers) -> Numbers:
    """splitmix64: uint64[n] of random numbers for uint64[n] of positions in the stream of a seed."""
    z = numbers * np.uint64(_GAMMA) + np.uint64(_mix(seed))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))


def _mix(value: int) -> int:
    z = (value + _GAMMA) & _MASK
    z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB & _MASK
    return z ^ (z >> 31)


def _below(random: Numbers, bound: int) -> Numbers:
    """Random numbers from 0 to bound - 1, for bounds to 2**43: what 64 bits leave uneven is beyond notice."""
    if bound <= 1 << 32:
        return (random >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)
    return random % np.uint64(bound)


def inverse_powers(count: int, exponent: float) -> npt.NDArray[np.float64]:
    """k**-exponent for k from 1 to count, to about 1e-13 of each.

    Additions, multiplications and divisions only: those round alike everywhere. The logarithms of
    mathematical libraries do not, and streams must be equal bit for bit.
    """
    fraction, power = np.frexp(np.arange(1, count + 1, dtype=np.float64))
    low = fraction < 0.7071067811865476
    fraction, power = np.where(low, fraction * 2, fraction), power - low
    t = (fraction - 1) / (fraction + 1)
    t2, series = t * t, np.zeros(count)
    for odd in range(23, 0, -2):
        series = series * t2 + 1 / odd
    log2 = power + 2 * t * series * 1.4426950408889634
    whole = np.rint(-exponent * log2)
    x = (-exponent * log2 - whole) * 0.6931471805599453
    value = np.ones(count)
    for n in range(16, 0, -1):
        value = value * x / n + 1
    powers: npt.NDArray[np.float64] = np.ldexp(value, whole.astype(np.int32))
    return powers
