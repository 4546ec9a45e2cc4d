"""Walk references with caches warm: closed forms that hold for every number of levels and every page size.

g and h are the reads of the guest's and of the host's table alone (published_counts.py). A guest
paging-structure cache that holds the entry of level j leaves r = j - 1 - s of the g reads (s = 0, 1, 2 for 4
KiB, 2 MiB, 1 GiB), and the machine address of the first of these tables is known; a host one that holds level
k leaves q of the h reads.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

import vmem

from .published_counts import LEVELS, NESTED, PAGES, reads
from .two_dimensions import GIB, SECOND_STAGES, Bench, Format, leaf_level, level_shift

VA = 0x1240_0000_0000
ENTRY_NAMES = {2: "pde", 3: "pdpte", 4: "pml4e", 5: "pml5e"}
NOTHING = vmem.Cpu(l2=None, psc=None, host_psc=None, nested_tlb=None)


def caches(level: int | None) -> vmem.Psc | None:
    """Of one level of entries only."""
    return None if level is None else vmem.Psc(**{ENTRY_NAMES[level]: vmem.Tlb(64)})


def cacheable(levels: int, page: str) -> list[int | None]:
    """The levels whose entries name tables on the way to such a page; None: no cache."""
    return [None, *range(leaf_level(page) + 1, levels + 1)]


def left(level: int | None, levels: int, page: str) -> int:
    """Reads that remain when the entry of `level` is cached."""
    return reads(levels, page) if level is None else level - leaf_level(page)


@dataclass(frozen=True)
class Neighbours:
    """Two linear addresses that share every table. The second access finds what the first one cached."""

    bench: Bench
    first: tuple[int, int]  # linear address, machine address
    second: tuple[int, int]

    @classmethod
    def of(cls, bench: Bench, guest_page: str, host_page: str | None, same_data: bool) -> Neighbours:
        """`same_data`: both mean the same guest-physical address; else that of the second is in the next page
        of the host, which the same host tables map.
        """
        guest_size = 1 << level_shift(leaf_level(guest_page))
        host_size = 1 << level_shift(leaf_level(host_page)) if host_page else guest_size
        distance = 0 if same_data else host_size
        data = -(-bench.guest.new_data() // (4 * GIB)) * (4 * GIB)
        va = VA + guest_size + distance % guest_size
        return cls(
            bench,
            (VA, bench.guest.map(VA, data)),
            (va, bench.guest.map(va, data + distance // guest_size * guest_size)),
        )

    def reads_of_second(self, kind: str = "load", first_kind: str = "load") -> tuple[int, int]:
        self.bench.reads(*self.first, first_kind)
        return self.bench.reads(*self.second, kind)


def test_one_dimension_with_a_paging_structure_cache() -> None:
    for levels, page in itertools.product(LEVELS, PAGES):
        for level in cacheable(levels, page)[1:]:
            bench = Bench(NOTHING.replace(psc=caches(level)), (levels, page), None)
            neighbours = Neighbours.of(bench, page, None, same_data=False)
            assert neighbours.reads_of_second() == (left(level, levels, page), 0)
            assert bench.mmu.counters()["psc_hits"] == 1


@pytest.mark.parametrize(("level", "published"), [(2, 1), (3, 2), (4, 3)])
def test_published_native_numbers(level: int, published: int) -> None:
    bench = Bench(NOTHING.replace(psc=caches(level)), (4, "4KiB"), None)
    assert Neighbours.of(bench, "4KiB", None, same_data=False).reads_of_second() == (published, 0)


@pytest.mark.parametrize("second_stage", SECOND_STAGES)
@pytest.mark.parametrize(("guest_levels", "guest_page", "host_levels", "host_page"), NESTED)
def test_every_mixture_of_warm_caches(
    guest_levels: int, guest_page: str, host_levels: int, host_page: str, second_stage: Format
) -> None:
    guest, host = (guest_levels, guest_page), (host_levels, host_page)
    for psc, host_psc, nested in itertools.product(
        cacheable(*guest), cacheable(*host), ("absent", "holds the tables", "holds tables and data")
    ):
        cpu = NOTHING.replace(
            psc=caches(psc),
            host_psc=caches(host_psc),
            nested_tlb=None if nested == "absent" else vmem.Tlb(64),
        )
        bench = Bench(cpu, guest, host, second_stage)
        neighbours = Neighbours.of(bench, guest_page, host_page, same_data=nested == "holds tables and data")
        guest_reads, per_host_walk = left(psc, *guest), left(host_psc, *host)
        tables = guest_reads + 1 if psc is None else guest_reads  # host walks, that of the data included
        host_walks = {"absent": tables, "holds the tables": 1, "holds tables and data": 0}[nested]
        expected = (guest_reads, host_walks * per_host_walk)
        assert neighbours.reads_of_second() == expected, (psc, host_psc, nested)


@pytest.mark.parametrize(("guest_levels", "guest_page", "host_levels", "host_page"), NESTED)
def test_nested_tlb_saves_the_host_walks_of_shared_tables(
    guest_levels: int, guest_page: str, host_levels: int, host_page: str
) -> None:
    """An address whose first i tables have been walked before: i h reads fewer."""
    total, h = NESTED[guest_levels, guest_page, host_levels, host_page], reads(host_levels, host_page)
    g = reads(guest_levels, guest_page)
    for shared in range(1, g + 1):
        bench = Bench(
            NOTHING.replace(nested_tlb=vmem.Tlb(64)), (guest_levels, guest_page), (host_levels, host_page)
        )
        other = VA ^ 1 << level_shift(guest_levels - shared + 1)
        first = bench.guest.map(VA, bench.guest.new_data())
        second = bench.guest.map(other, bench.guest.new_data())
        bench.reads(VA, first)
        assert sum(bench.reads(other, second)) == total - shared * h


# Four levels and pages of 4 KiB in both dimensions: guest cache, host cache, what the nested TLB holds →
# reads.
PUBLISHED_NESTED = [
    (None, None, None, 24),
    (2, None, None, 5),
    (3, None, None, 10),
    (4, None, None, 15),
    (None, None, "tables", 8),
    (None, None, "tables and data", 4),
    (None, 2, None, 9),
    (2, 2, None, 2),
    (2, None, "tables and data", 1),
]


@pytest.mark.parametrize(("psc", "host_psc", "nested", "published"), PUBLISHED_NESTED)
def test_published_nested_numbers(
    psc: int | None, host_psc: int | None, nested: str | None, published: int
) -> None:
    nested_tlb = vmem.Tlb(64) if nested else None
    cpu = NOTHING.replace(psc=caches(psc), host_psc=caches(host_psc), nested_tlb=nested_tlb)
    bench = Bench(cpu, (4, "4KiB"), (4, "4KiB"))
    neighbours = Neighbours.of(bench, "4KiB", "4KiB", same_data=nested == "tables and data")
    assert sum(neighbours.reads_of_second()) == published


@pytest.mark.parametrize("shared", [1, 2, 3, 4])
def test_published_nested_tlb_numbers(shared: int) -> None:
    """24, 20, 16, 12, 8: of which 20 is also what remains when only the guest's root is known."""
    bench = Bench(NOTHING.replace(nested_tlb=vmem.Tlb(64)), (4, "4KiB"), (4, "4KiB"))
    other = VA ^ 1 << level_shift(5 - shared)
    first, second = (bench.guest.map(va, bench.guest.new_data()) for va in (VA, other))
    assert sum(bench.reads(VA, first)) == 24
    assert sum(bench.reads(other, second)) == {1: 20, 2: 16, 3: 12, 4: 8}[shared]


@pytest.mark.parametrize(("second_stage", "published"), [("ept", 4), ("ept with A/D", 8), ("npt", 8)])
def test_a_store_needs_a_dirty_nested_tlb_entry(second_stage: Format, published: int) -> None:
    """Where the second stage has dirty bits, data that was only read takes a host walk more to be written."""
    bench = Bench(NOTHING.replace(nested_tlb=vmem.Tlb(64)), (4, "4KiB"), (4, "4KiB"), second_stage)
    neighbours = Neighbours.of(bench, "4KiB", "4KiB", same_data=True)
    assert sum(neighbours.reads_of_second("store")) == published


def test_tables_in_one_large_page_of_the_host_take_one_host_walk() -> None:
    """The nested TLB holds whole host pages: cold, one walk serves all tables; the data lies elsewhere."""
    bench = Bench(NOTHING.replace(nested_tlb=vmem.Tlb(64)), (4, "2MiB"), (4, "2MiB"), spread=False)
    expected = bench.guest.map(VA, bench.guest.new_data())
    assert bench.reads(VA, expected) == (3, 2 * 3)


# The whole machine, nested, guest pages of 4 KiB: processor, backing, reads of the second of two neighbouring
# pages.
WHOLE_MACHINE = {
    "nothing": (NOTHING, "4KiB", 24),
    "guest PDE": (NOTHING.replace(psc=caches(2)), "4KiB", 5),
    "guest PDPTE": (NOTHING.replace(psc=caches(3)), "4KiB", 10),
    "guest PML4E": (NOTHING.replace(psc=caches(4)), "4KiB", 15),
    "host PDE": (NOTHING.replace(host_psc=caches(2)), "4KiB", 9),
    "guest and host PDE": (NOTHING.replace(psc=caches(2), host_psc=caches(2)), "4KiB", 2),
    "nested TLB": (NOTHING.replace(nested_tlb=vmem.Tlb(64)), "4KiB", 8),
    "guest PDE, nested TLB": (NOTHING.replace(psc=caches(2), nested_tlb=vmem.Tlb(64)), "4KiB", 5),
    "large host pages, nested TLB": (NOTHING.replace(nested_tlb=vmem.Tlb(64)), "2MiB", 4),
    "large host pages, guest PDE, nested TLB": (
        NOTHING.replace(psc=caches(2), nested_tlb=vmem.Tlb(64)),
        "2MiB",
        1,
    ),
}


@pytest.mark.parametrize("what", WHOLE_MACHINE)
def test_whole_machine(what: str) -> None:
    cpu, backing, published = WHOLE_MACHINE[what]
    vm = vmem.Hypervisor(memory="1GiB", cpu=cpu).create_vm("nested", memory="256MiB", backing=backing)
    process = vm.guest.spawn("reader")
    heap = process.mmap("4MiB")
    start = -(-heap.start // 2**21) * 2**21
    loads = np.array([0], np.uint8)
    pages = [np.array([start + 4096 * n], np.uint64) for n in range(2)]
    for page in pages:
        process.access(page, loads)
    vm.vcpus[0].flush_tlb()
    process.access(pages[0], loads)
    assert process.access(pages[1], loads).counters["walk_refs"] == published
