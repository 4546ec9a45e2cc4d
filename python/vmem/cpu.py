"""Processors as data: TLBs, paging-structure caches, nested TLB."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vmem import _core, checks
from vmem.errors import ConfigError
from vmem.sizes import parse_page_size

_POLICIES = ("lru", "plru", "fifo", "random")
Policy = Literal["lru", "plru", "fifo", "random"]
MOST_ENTRIES = 1 << 22
"""Of one array: more than any silicon has, few enough for every machine that simulates it."""

_TlbTuple = tuple[int, int, str, int, int]
_SIZE_NAMES = ("4KiB", "2MiB", "1GiB")


@dataclass(frozen=True)
class Tlb:
    """One array of translations.

    `entries` in `entries / ways` sets; `ways` None is fully associative. `pages` are the page sizes it holds.
    `seed` feeds the "random" policy.
    """

    entries: int
    ways: int | None = None
    policy: Policy = "lru"
    pages: tuple[str, ...] = _SIZE_NAMES
    seed: int = 0

    def _tuple(self) -> _TlbTuple:
        entries = checks.integer(self.entries, "Tlb entries", 1, MOST_ENTRIES)
        ways = entries if self.ways is None else checks.integer(self.ways, "Tlb ways", 1, entries)
        seed = checks.integer(self.seed, "Tlb seed", 0, checks.WORD - 1)
        bits = 0
        for page in self.pages:
            bits |= 1 << parse_page_size(page, "Tlb pages")
        return (entries, ways, checks.one_of(self.policy, "Tlb policy", _POLICIES), seed, bits)

    @classmethod
    def _from(cls, values: _TlbTuple) -> Tlb:
        entries, ways, policy, seed, bits = values
        pages = tuple(name for i, name in enumerate(_SIZE_NAMES) if bits >> i & 1)
        return cls(entries, None if ways == entries else ways, policy, pages, seed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Psc:
    """Paging-structure caches of one dimension, one per level of entries; None: that level is not cached.
    `pages` of a Tlb is ignored here.
    """

    pml5e: Tlb | None = None
    pml4e: Tlb | None = None
    pdpte: Tlb | None = None
    pde: Tlb | None = None

    def _tuples(self) -> list[_TlbTuple | None]:
        names = ("pde", "pdpte", "pml4e", "pml5e")
        return [_optional_tuple(getattr(self, name), f"Psc {name}") for name in names]

    @classmethod
    def _from(cls, levels: Sequence[_TlbTuple | None]) -> Psc | None:
        pde, pdpte, pml4e, pml5e = (None if level is None else Tlb._from(level) for level in levels)
        return None if pde is pdpte is pml4e is pml5e is None else cls(pml5e, pml4e, pdpte, pde)


def _optional_tuple(value: Tlb | None, what: str) -> _TlbTuple | None:
    if value is not None and not isinstance(value, Tlb):
        raise ConfigError(f"{what}: {value!r}; accepted are a vmem.Tlb and None")
    return None if value is None else value._tuple()


def _level(value: Tlb | Sequence[Tlb] | None, what: str) -> list[_TlbTuple]:
    arrays = [] if value is None else [value] if isinstance(value, Tlb) else value
    if not isinstance(arrays, Sequence) or not all(isinstance(array, Tlb) for array in arrays):
        raise ConfigError(f"{what}: {value!r}; accepted are a vmem.Tlb, or several in a tuple or list")
    return [array._tuple() for array in arrays]


def _psc(value: Psc | None, what: str) -> list[_TlbTuple | None]:
    if value is not None and not isinstance(value, Psc):
        raise ConfigError(f"{what}: {value!r}; accepted are a vmem.Psc and None")
    return (value or Psc())._tuples()


@dataclass(frozen=True)
class Cpu:
    """A processor. A TLB level is one Tlb for all its page sizes, or a sequence of Tlbs for different ones.

    `l2`, `psc`, `host_psc` (second dimension) and `nested_tlb` (gPA to hPA) may be None: not there.
    `guest_levels` and `host_levels` are 4 or 5. `nested_format` is "ept" or "npt".
    """

    l1d: Tlb | Sequence[Tlb] = Tlb(64, 4)
    l1i: Tlb | Sequence[Tlb] = Tlb(128, 8)
    l2: Tlb | Sequence[Tlb] | None = Tlb(1536, 12)
    psc: Psc | None = None
    host_psc: Psc | None = None
    nested_tlb: Tlb | None = None
    guest_levels: int = 4
    host_levels: int = 4
    nested_format: Literal["ept", "npt"] = "ept"
    maxphyaddr: int = 46
    one_gib_pages: bool = True
    execute_only: bool = True
    name: str = "custom"
    source: str = ""

    @classmethod
    def preset(cls, name: str) -> Cpu:
        """A built-in processor; ConfigError lists the names if it is unknown."""
        core = _core.cpu_preset(name)
        return cls(
            l1d=tuple(map(Tlb._from, core.l1d)),
            l1i=tuple(map(Tlb._from, core.l1i)),
            l2=tuple(map(Tlb._from, core.l2)) or None,
            psc=Psc._from(core.psc),
            host_psc=Psc._from(core.host_psc),
            nested_tlb=None if core.nested_tlb is None else Tlb._from(core.nested_tlb),
            guest_levels=core.guest_levels,
            host_levels=core.host_levels,
            nested_format=core.nested_format,
            maxphyaddr=core.maxphyaddr,
            one_gib_pages=core.one_gib_pages,
            execute_only=core.execute_only,
            name=core.name,
            source=core.source,
        )

    @staticmethod
    def presets() -> list[str]:
        """Names of the built-in processors."""
        return list(_core.cpu_preset_names())

    def replace(self, **changes: Any) -> Cpu:
        """A copy with some fields changed; ConfigError for an unknown field."""
        known = {field.name for field in dataclasses.fields(self)}
        for name in changes.keys() - known:
            raise ConfigError(f"a Cpu has no field {name!r}; it has {', '.join(sorted(known))}")
        return dataclasses.replace(self, **changes)

    def _core(self) -> _core.CpuConfig:
        return _core.CpuConfig(
            name=checks.text(self.name, "Cpu name", empty=True),
            source=checks.text(self.source, "Cpu source", empty=True),
            l1i=_level(self.l1i, "l1i"),
            l1d=_level(self.l1d, "l1d"),
            l2=_level(self.l2, "l2"),
            psc=_psc(self.psc, "psc"),
            host_psc=_psc(self.host_psc, "host_psc"),
            nested_tlb=_optional_tuple(self.nested_tlb, "nested_tlb"),
            guest_levels=checks.integer(self.guest_levels, "guest_levels", 4, 5),
            host_levels=checks.integer(self.host_levels, "host_levels", 4, 5),
            nested_format=checks.one_of(self.nested_format, "nested_format", ("ept", "npt")),
            maxphyaddr=checks.integer(self.maxphyaddr, "maxphyaddr", 32, 52),
            one_gib_pages=checks.flag(self.one_gib_pages, "one_gib_pages"),
            execute_only=checks.flag(self.execute_only, "execute_only"),
        )


def resolve_cpu(cpu: Cpu | str) -> Cpu:
    """A Cpu as it is, or the preset of that name."""
    if isinstance(cpu, Cpu):
        return cpu
    if isinstance(cpu, str):
        return Cpu.preset(cpu)
    raise ConfigError(
        f"cpu: {cpu!r}; accepted are a vmem.Cpu or the name of a preset: {', '.join(Cpu.presets())}"
    )
