"""What keeping a shadow in step costs, by way of doing it, and where shadow or nested paging wins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import vmem

PAGE = 4096
SHADOWS: dict[str, dict[str, Any]] = {
    sync: {"mmu": "shadow", "sync": sync} for sync in ("trace", "unsync", "vtlb")
}
MODES: dict[str, dict[str, Any]] = {"native": {"mmu": "native"}, "nested": {"mmu": "nested"}, **SHADOWS}
Work = Callable[[vmem.Process], None]


def touch(process: vmem.Process, area: vmem.Mapping, kind: int = 1) -> None:
    process.access(*vmem.batch(range(area.start, area.end, PAGE), kind))


def counters(options: dict[str, Any], prepare: Work, work: Work) -> dict[str, int]:
    """What `work` adds to the counters, after `prepare`."""
    vm = vmem.Hypervisor("1GiB").create_vm("guest", memory="256MiB", **options)
    process = vm.guest.spawn()
    prepare(process)
    before = vm.counters()
    work(process)
    return {name: value - before[name] for name, value in vm.counters().items()}


def fork_and_exec(process: vmem.Process) -> None:
    """A shell: a child copies the address space, writes a little, drops it all and ends."""
    (area,) = process.mappings()
    for _ in range(5):
        child = process.fork()
        child.access(*vmem.batch(range(area.start, area.start + 8 * PAGE, PAGE), 1))
        child.munmap(area)
        touch(child, child.mmap("256KiB"))
        child.exit()
        process.access(*vmem.batch(range(area.start, area.end, 4 * PAGE), 1))


def mmap_churn(process: vmem.Process) -> None:
    for _ in range(20):
        area = process.mmap("256KiB")
        touch(process, area)
        process.munmap(area)


def steady(process: vmem.Process) -> None:
    (area,) = process.mappings()
    for _ in range(20):
        touch(process, area)


def prepared(size: str) -> Work:
    return lambda process: touch(process, process.mmap(size))


@pytest.mark.parametrize("work", [fork_and_exec, mmap_churn])
def test_trace_exits_most_unsync_less_vtlb_never(work: Work) -> None:
    made = {
        sync: counters(options, prepared("1MiB"), work)["exits.page_table_write"]
        for sync, options in SHADOWS.items()
    }
    assert made["trace"] > 2 * made["unsync"] > 0
    assert made["vtlb"] == 0


def test_a_steady_process_costs_no_exit_at_all() -> None:
    for sync, options in SHADOWS.items():
        made = counters(options, prepared("1MiB"), steady)
        assert not [name for name, n in made.items() if name.startswith("exits.") and n], sync


def test_trace_exits_once_for_each_store_to_a_traced_table() -> None:
    """Pages of one leaf table: a store when each is mapped, and one when each is unmapped."""

    def prepare(process: vmem.Process) -> None:
        # The table is there, in use and traced, and stays when the pages between go.
        area = process.mmap("1MiB")
        process.access(*vmem.batch([area.start, area.end - PAGE], 1))

    def churn(process: vmem.Process) -> None:
        (area,) = process.mappings()
        inner = [area.start + page * PAGE for page in range(1, 101)]
        process.access(*vmem.batch(inner, 1))
        process.munmap(inner[0], 100 * PAGE)

    made = {sync: counters(options, prepare, churn) for sync, options in SHADOWS.items()}
    assert {sync: c["exits.page_table_write"] for sync, c in made.items()} == {
        "trace": 200,
        "unsync": made["unsync"]["exits.page_table_write"],
        "vtlb": 0,
    }
    assert made["unsync"]["exits.page_table_write"] <= 2  # the first store of each phase at most


def random_loads(process: vmem.Process) -> None:
    """Far beyond the reach of the TLBs, and not one change of a table."""
    (area,) = process.mappings()
    pages = np.random.default_rng(1).integers(0, area.length // PAGE, 200_000, dtype=np.uint64)
    addresses = np.uint64(area.start) + pages * np.uint64(PAGE)
    process.access(addresses, np.zeros(len(addresses), np.uint8))


def cycles(prepare: Work, work: Work) -> dict[str, int]:
    return {name: counters(options, prepare, work)["cycles"] for name, options in MODES.items()}


def test_shadow_wins_where_tlb_misses_are_many_and_table_changes_few() -> None:
    made = cycles(prepared("128MiB"), random_loads)
    for sync in SHADOWS:
        assert made["native"] == made[sync] < 0.9 * made["nested"]


@pytest.mark.parametrize("work", [fork_and_exec, mmap_churn])
def test_nested_wins_where_tables_change(work: Work) -> None:
    made = cycles(prepared("1MiB"), work)
    for sync in SHADOWS:
        assert made["native"] < made["nested"] < made[sync]
