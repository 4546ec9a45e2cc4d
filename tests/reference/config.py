"""What the modelled processor has. Page sizes are 0 (4 KiB), 1 (2 MiB), 2 (1 GiB) everywhere in this
package.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Geometry:
    """`entries / ways` sets; `policy` is lru, plru, fifo or random; `seed` feeds random."""

    entries: int
    ways: int
    policy: str = "lru"
    seed: int = 0


@dataclass(frozen=True)
class Array:
    """One array of a TLB level and the page sizes it holds."""

    geometry: Geometry
    sizes: tuple[int, ...] = (0, 1, 2)


@dataclass(frozen=True)
class Config:
    """A processor. Paging-structure caches are by the level of the entries they hold: 2 (PDE) to 5
    (PML5E).
    """

    l1i: tuple[Array, ...]
    l1d: tuple[Array, ...]
    l2: tuple[Array, ...] = ()
    psc: dict[int, Geometry] = field(default_factory=dict)
    host_psc: dict[int, Geometry] = field(default_factory=dict)
    nested_tlb: Geometry | None = None
    host_levels: int = 4
    maxphyaddr: int = 46
    one_gib_pages: bool = True
    execute_only: bool = True
