"""Processors as data: TLBs, paging-structure caches, nested TLB."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vmem import _core
from vmem.errors import ConfigError
from vmem.sizes import parse_page_size

Policy = Literal["lru", "plru", "fifo", "random"]
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
        for name, value in (("entries", self.entries), ("ways", self.ways if self.ways is not None else 1)):
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
                raise ConfigError(f"Tlb {name}: {value!r}; accepted is a positive number")
        bits = 0
        for page in self.pages:
            bits |= 1 << parse_page_size(page, "Tlb pages")
        return (self.entries, self.entries if self.ways is None else self.ways, self.policy, self.seed, bits)

    @classmethod
    def _from(cls, values: _TlbTuple) -> Tlb:
        entries, ways, policy, seed, bits = values
        pages = tuple(name for i, name in enumerate(_SIZE_NAMES) if bits >> i & 1)
        return cls(entries, None if ways == entries else ways, policy, pages, seed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Psc:
    """Paging-structure caches of one dimension, one per level of entries; None: that level is not cached. `pages` of a Tlb is ignored here."""

    pml5e: Tlb | None = None
    pml4e: Tlb | None = None
    pdpte: Tlb | None = None
    pde: Tlb | None = None

    def _tuples(self) -> list[_TlbTuple | None]:
        return [None if level is None else level._tuple() for level in (self.pde, self.pdpte, self.pml4e, self.pml5e)]

    @classmethod
    def _from(cls, levels: Sequence[_TlbTuple | None]) -> Psc | None:
        pde, pdpte, pml4e, pml5e = (None if level is None else Tlb._from(level) for level in levels)
        return None if pde is pdpte is pml4e is pml5e is None else cls(pml5e, pml4e, pdpte, pde)


def _level(value: Tlb | Sequence[Tlb] | None) -> list[_TlbTuple]:
    if value is None:
        return []
    return [tlb._tuple() for tlb in ([value] if isinstance(value, Tlb) else value)]


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
            name=self.name,
            source=self.source,
            l1i=_level(self.l1i),
            l1d=_level(self.l1d),
            l2=_level(self.l2),
            psc=(self.psc or Psc())._tuples(),
            host_psc=(self.host_psc or Psc())._tuples(),
            nested_tlb=None if self.nested_tlb is None else self.nested_tlb._tuple(),
            guest_levels=self.guest_levels,
            host_levels=self.host_levels,
            nested_format=self.nested_format,
            maxphyaddr=self.maxphyaddr,
            one_gib_pages=self.one_gib_pages,
            execute_only=self.execute_only,
        )


def resolve_cpu(cpu: Cpu | str) -> Cpu:
    """A Cpu as it is, or the preset of that name."""
    if isinstance(cpu, Cpu):
        return cpu
    if isinstance(cpu, str):
        return Cpu.preset(cpu)
    raise ConfigError(f"cpu: {cpu!r}; accepted are a vmem.Cpu or the name of a preset: {', '.join(Cpu.presets())}")
