"""Random processors for the differential test, and the model's configuration of a `vmem.Cpu`."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import vmem
from reference.config import Array, Config, Geometry
from vmem.cpu import Policy

SIZES = ("4KiB", "2MiB", "1GiB")
SPLITS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (SIZES,),
    (("4KiB",),),
    (("4KiB",), ("2MiB",), ("1GiB",)),
    (("4KiB", "2MiB"), ("1GiB",)),
    (("2MiB",),),
    (("4KiB", "1GiB"),),
    (("4KiB",), ("2MiB", "1GiB")),
)
SHAPES = ((4, 2), (1, 1), (2, 2), (4, 4), (3, 1), (6, 2), (8, 8), (12, 4), (10, 2), (16, 4), (9, 3), (32, 8))


def random_tlb(rng: Random, pages: tuple[str, ...] = SIZES) -> vmem.Tlb:
    policy: Policy = rng.choice(("lru", "fifo", "random", "plru"))
    entries, ways = rng.choice(SHAPES)
    if policy == "plru":
        while ways & ways - 1:
            entries, ways = entries - entries // ways, ways - 1
    return vmem.Tlb(entries, ways, policy, pages, rng.randrange(1 << 16) if policy == "random" else 0)


def random_level(rng: Random) -> vmem.Tlb | tuple[vmem.Tlb, ...]:
    """One array for all sizes, or arrays for some of them: what is missing is fractured or not cached."""
    return tuple(random_tlb(rng, pages) for pages in rng.choice(SPLITS))


def random_psc(rng: Random) -> vmem.Psc | None:
    if rng.randrange(3) == 0:
        return None
    levels = [random_tlb(rng) if rng.randrange(3) else None for _ in range(4)]
    return vmem.Psc(*levels)


def random_cpu(rng: Random) -> vmem.Cpu:
    return vmem.Cpu(
        l1d=random_level(rng),
        l1i=random_level(rng),
        l2=random_level(rng) if rng.randrange(4) else None,
        psc=random_psc(rng),
        host_psc=random_psc(rng),
        nested_tlb=random_tlb(rng) if rng.randrange(2) else None,
        host_levels=rng.choice((4, 5)),
        maxphyaddr=rng.choice((46, 40, 52)),
        one_gib_pages=rng.randrange(6) != 5,
        execute_only=rng.randrange(3) != 2,
    )


def _geometry(tlb: vmem.Tlb | None) -> Geometry | None:
    if tlb is None:
        return None
    return Geometry(tlb.entries, tlb.entries if tlb.ways is None else tlb.ways, tlb.policy, tlb.seed)


def _arrays(level: vmem.Tlb | Sequence[vmem.Tlb] | None) -> tuple[Array, ...]:
    arrays = [] if level is None else [level] if isinstance(level, vmem.Tlb) else level
    return tuple(
        Array(
            Geometry(tlb.entries, tlb.ways or tlb.entries, tlb.policy, tlb.seed),
            tuple(map(SIZES.index, tlb.pages)),
        )
        for tlb in arrays
    )


def _structures(psc: vmem.Psc | None) -> dict[int, Geometry]:
    if psc is None:
        return {}
    levels = {2: psc.pde, 3: psc.pdpte, 4: psc.pml4e, 5: psc.pml5e}
    return {level: geometry for level, tlb in levels.items() if (geometry := _geometry(tlb)) is not None}


def config_of(cpu: vmem.Cpu) -> Config:
    return Config(
        l1i=_arrays(cpu.l1i),
        l1d=_arrays(cpu.l1d),
        l2=_arrays(cpu.l2),
        psc=_structures(cpu.psc),
        host_psc=_structures(cpu.host_psc),
        nested_tlb=_geometry(cpu.nested_tlb),
        host_levels=cpu.host_levels,
        maxphyaddr=cpu.maxphyaddr,
        one_gib_pages=cpu.one_gib_pages,
        execute_only=cpu.execute_only,
    )
