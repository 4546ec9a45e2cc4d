"""Every cell of the published tables of walk references with nothing cached: on the silicon alone with
hand-made tables, and on the whole machine with the tables that its guest kernel and hypervisor make.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import vmem

from .published_counts import LEVELS, NATIVE, NESTED, PAGES, reads
from .two_dimensions import SECOND_STAGES, Bench, Format, leaf_level, level_shift

NO_CACHES = vmem.Cpu(l2=None, psc=None, host_psc=None, nested_tlb=None)
VA = 0x1234_5678_9ABC
KINDS = ("load", "store", "fetch")


def test_published_tables_are_complete_and_follow_the_closed_form() -> None:
    assert set(NESTED) == set(itertools.product(LEVELS, PAGES, LEVELS, PAGES))
    for (guest_levels, guest_page, host_levels, host_page), published in NESTED.items():
        g, h = reads(guest_levels, guest_page), reads(host_levels, host_page)
        assert published == (g + 1) * (h + 1) - 1
    for levels, page in itertools.product(LEVELS, PAGES):
        assert NATIVE[levels][page] == reads(levels, page)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("levels", LEVELS)
def test_one_dimension(levels: int, page: str, kind: str) -> None:
    bench = Bench(NO_CACHES, (levels, page), None)
    expected = bench.guest.map(VA, bench.guest.new_data())
    assert bench.reads(VA, expected, kind) == (NATIVE[levels][page], 0)
    bench.mmu.flush()  # accessed and dirty bits are set by now: the count is the same
    assert bench.reads(VA, expected, kind) == (NATIVE[levels][page], 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second_stage", SECOND_STAGES)
@pytest.mark.parametrize(("guest_levels", "guest_page", "host_levels", "host_page"), NESTED)
def test_two_dimensions(
    guest_levels: int, guest_page: str, host_levels: int, host_page: str, second_stage: Format, kind: str
) -> None:
    bench = Bench(NO_CACHES, (guest_levels, guest_page), (host_levels, host_page), second_stage)
    expected = bench.guest.map(VA, bench.guest.new_data())
    g, published = reads(guest_levels, guest_page), NESTED[guest_levels, guest_page, host_levels, host_page]
    assert bench.reads(VA, expected, kind) == (g, published - g)
    bench.mmu.flush()
    assert bench.reads(VA, expected, kind) == (g, published - g)


@pytest.mark.parametrize(("guest_levels", "guest_page", "host_levels", "host_page"), NESTED)
def test_shadow(guest_levels: int, guest_page: str, host_levels: int, host_page: str) -> None:
    """A shadow table maps the smaller of both pages in as many levels as the host has: one dimension."""
    bench = Bench(NO_CACHES, (guest_levels, guest_page), (host_levels, host_page))
    bench.guest.map(VA, bench.guest.new_data())
    effective = min(guest_page, host_page, key=PAGES.index)
    assert bench.mmu.probe(VA).page_size == 1 << level_shift(leaf_level(effective))
    shadow = Bench(NO_CACHES, (host_levels, effective), None)
    expected = shadow.guest.map(VA, shadow.guest.new_data())
    assert shadow.reads(VA, expected) == (NATIVE[host_levels][effective], 0)


def whole_machine_reads(vm: vmem.Vm, page: str) -> tuple[int, int]:
    """One access of a process to a page it has touched, after a TLB flush."""
    process = vm.guest.spawn("reader")
    heap = process.mmap("1GiB", page=page)
    address, store = np.array([heap.start + 0x123_4567], np.uint64), np.array([1], np.uint8)
    process.access(address, store)
    vm.vcpus[0].flush_tlb()
    counters = process.access(address, store).counters
    assert counters["walks"] == counters["tlb_misses"] == counters["accesses"] == 1
    assert counters["walk_refs"] == counters["walk_refs_guest"] + counters["walk_refs_host"]
    return counters["walk_refs_guest"], counters["walk_refs_host"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("levels", LEVELS)
def test_whole_machine_native(levels: int, page: str) -> None:
    hypervisor = vmem.Hypervisor(memory="8GiB", cpu=NO_CACHES.replace(guest_levels=levels))
    vm = hypervisor.create_vm("native", memory="4GiB", mmu="native")
    assert whole_machine_reads(vm, page) == (NATIVE[levels][page], 0)
    hypervisor.check()


@pytest.mark.parametrize("nested_format", ["ept", "npt"])
@pytest.mark.parametrize(("guest_levels", "guest_page", "host_levels", "host_page"), NESTED)
def test_whole_machine_nested(
    guest_levels: int, guest_page: str, host_levels: int, host_page: str, nested_format: str
) -> None:
    cpu = NO_CACHES.replace(guest_levels=guest_levels, host_levels=host_levels, nested_format=nested_format)
    hypervisor = vmem.Hypervisor(memory="8GiB", cpu=cpu)
    vm = hypervisor.create_vm("nested", memory="4GiB", mmu="nested", backing=host_page)
    g, published = reads(guest_levels, guest_page), NESTED[guest_levels, guest_page, host_levels, host_page]
    assert whole_machine_reads(vm, guest_page) == (g, published - g)
    hypervisor.check()
