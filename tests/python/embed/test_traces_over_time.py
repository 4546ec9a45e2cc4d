"""Traces as programs through the C interface: runs, and whatever a function of the caller's says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vmem
from vmem.traces import RUN_DTYPE, Item, MapEvent, References, Region, Runs, Totals, Trace

from .chost import CHost, assert_alike

pytest.importorskip("cffi")
MIB = 1 << 20
MS = 10**6
BASE = 0x10_0000_0000
KINDS = {"mmap": 3, "munmap": 4, "mprotect": 5, "brk": 6}
BITS = {"": 0, "r": 1, "rw": 3}


def some_runs(count: int) -> Runs:
    """Of 900 pages; every third one begins with a store."""
    runs = np.zeros(count, RUN_DTYPE)
    numbers = np.arange(count, dtype=np.uint64)
    stores = numbers % np.uint64(3) == 0
    pages = np.uint64(BASE) + numbers * np.uint64(7) % np.uint64(900) * np.uint64(4096)
    runs["page"] = pages | stores.astype(np.uint64)
    runs["loads"] = 5
    runs["stores"] = np.where(stores, 2, 0)
    return runs


class Items:
    """A reader of given items."""

    format = "arrays"
    compact = True

    def __init__(self, items: list[Item], *regions: Region) -> None:
        self.all, self.regions = items, regions

    def items(self, progress: object) -> Iterator[Item]:
        return iter(self.all)

    def totals(self) -> Totals:
        return Totals(regions=self.regions)

    def details(self) -> dict[str, str]:
        return {}


def hosts() -> tuple[CHost, int, vmem.Hypervisor, vmem.Vm]:
    c = CHost(memory=128 * MIB)
    hv = vmem.Hypervisor("128MiB")
    return c, c.create_vm(memory=64 * MIB), hv, hv.create_vm("vm", memory="64MiB")


def areas_of(c: CHost, *regions: Region) -> dict[str, Any]:
    given = [(start, length, BITS[prot], 0) for start, length, prot in regions]
    return {"areas": c.ffi.new("vmem_trace_area[]", given), "area_count": len(given)}


def test_runs_again_and_again(installed: Path) -> None:
    c, vm, hv, twin = hosts()
    region = (BASE, 1000 * 4096, "rw")
    runs = some_runs(20_000)
    given = areas_of(c, region)
    kept = c.ffi.from_buffer("vmem_run[]", runs)
    program = c.start_trace(vm, c.spawn(vm), runs=kept, run_count=len(runs), times=3, limit=250_000, **given)
    copied = runs.copy()
    runs[:] = 0  # it has its own
    started = twin.guest.spawn("app").start(Trace(Items([copied], region), "trace"), runs=3, limit=250_000)
    assert c.run(10**9) == hv.run("1s").ended == "programs"
    state = assert_alike(c, vm, program, twin, started)
    assert (state.times, state.references, state.segfaults) == (3, 250_000, 0)


def test_more_runs_than_a_block_without_areas_are_segfaults_where_nothing_is(installed: Path) -> None:
    c = CHost(memory=128 * MIB)
    vm = c.create_vm(memory=64 * MIB)
    runs = some_runs(200_000)
    given = {"runs": c.ffi.from_buffer("vmem_run[]", runs), "run_count": len(runs), "no_compute": 1}
    program = c.start_trace(vm, c.spawn(vm), **given, **areas_of(c, (BASE, 4096 * 899, "rw")))
    assert c.run(10**10) == "programs"
    state = c.told("vmem_program_state", "vmem_program_get_state", program)
    last = (runs["page"] & ~np.uint64(4095)) == BASE + 899 * 4096
    assert state.references == int(runs["loads"].sum() + runs["stores"].sum())
    assert state.segfaults == int(runs["loads"][last].sum() + runs["stores"][last].sum()) > 0
    assert state.first_segfault == BASE + 899 * 4096


def recorded() -> list[Item]:
    """Of a program that maps, protects and unmaps, with references of both sorts between."""
    heap = 0x5000_0000
    at = np.arange(heap, heap + 32 * 4096, 64, dtype=np.uint64)
    return [
        MapEvent("mmap", BASE, 900 * 4096, "rw", "data"),
        some_runs(5000),
        MapEvent("brk", heap, 32 * 4096, "rw", "heap"),
        References(at, (at % np.uint64(192) == 0).astype(np.uint8)),
        MapEvent("mprotect", BASE, 100 * 4096, "r", "data"),
        some_runs(2000),
        MapEvent("brk", heap, 8 * 4096, "rw", "heap"),
        MapEvent("munmap", BASE + 800 * 4096, 100 * 4096),
        some_runs(0),
        some_runs(1000),
    ]


def giver(c: CHost, items: list[Item]) -> Any:
    """A function that gives these items; what they point to is gone when it is asked again."""
    kept: list[Any] = []

    def give(user: object, host: object, number: int, item: Any) -> int:
        kept.clear()
        if number == len(items):
            return 0
        what = items[number]
        if isinstance(what, MapEvent):
            item.kind, item.start, item.length = KINDS[what.kind], what.start, what.length
            item.protection = BITS[what.prot]
            kept.append(c.ffi.new("char[]", what.name.encode()))
            item.name = kept[0]
        elif isinstance(what, References):
            kept.extend((what.addresses.copy(), what.kinds.copy()))
            item.kind, item.count = c.lib.VMEM_ITEM_REFERENCES, len(what.kinds)
            item.addresses = c.ffi.from_buffer("uint64_t[]", kept[0])
            item.kinds = c.ffi.from_buffer("uint8_t[]", kept[1])
        else:
            kept.append(what.copy())
            item.kind, item.count = c.lib.VMEM_ITEM_RUNS, len(what)
            item.runs = c.ffi.from_buffer("vmem_run[]", kept[0])
        return 0

    return c.ffi.callback("vmem_trace_fn", give, error=1)


def test_a_function_gives_calls_and_references(installed: Path) -> None:
    c, vm, hv, twin = hosts()
    items = recorded()
    give = giver(c, items)
    program = c.start_trace(vm, c.spawn(vm), next=give, times=2, compute_ns=2000, page=1)
    trace = Trace(Items(items), "trace")
    started = twin.guest.spawn("app").start(trace, runs=2, compute="2us", page="2MiB")
    for _ in range(2):
        assert c.run(60 * MS) == hv.run("60ms").ended
        state = assert_alike(c, vm, program, twin, started)
    assert c.run(10**9) == hv.run("1s").ended == "programs"
    state = assert_alike(c, vm, program, twin, started)
    assert state.segfaults > 0 and state.times == 2


def test_a_function_that_fails_is_asked_again(installed: Path) -> None:
    """What was done before stands, and is not done twice."""
    c = CHost(memory=128 * MIB)
    vm = c.create_vm(memory=64 * MIB)
    asked: list[int] = []
    inner = giver(c, [MapEvent("mmap", BASE, 900 * 4096, "rw", ""), some_runs(1000), some_runs(1000)])

    @c.ffi.callback("vmem_trace_fn", error=1)
    def give(user: object, host: Any, number: int, item: Any) -> int:
        asked.append(number)
        assert c.lib.vmem_host_advance(host, 1) == c.lib.VMEM_E_BUSY
        assert c.ask("uint64_t", "vmem_host_now") >= 0
        if number == 2 and asked.count(2) <= 2:
            return -1
        return int(inner(user, host, number, item))

    program = c.start_trace(vm, c.spawn(vm), next=give)
    for _ in range(2):
        with pytest.raises(vmem.VmemError, match="item 2 of a trace"):
            c.run(10**9)
        state = c.told("vmem_program_state", "vmem_program_get_state", program)
        assert state.references == some_runs(1000)["loads"].sum() + some_runs(1000)["stores"].sum()
    assert c.run(10**9) == "programs"
    assert asked == [0, 1, 2, 2, 2, 3]
    c.check(c.lib.vmem_host_check(c.host))


def test_a_call_that_the_kernel_refuses_repeats_nothing(installed: Path) -> None:
    """The same of Python's traces."""
    items: list[Item] = [
        MapEvent("mmap", BASE, 900 * 4096, "rw", ""),
        some_runs(1000),
        MapEvent("mmap", 1 << 50, 4096, "rw", ""),
    ]
    once = int(some_runs(1000)["loads"].sum() + some_runs(1000)["stores"].sum())
    c, vm, hv, twin = hosts()
    process = c.spawn(vm)
    program = c.start_trace(vm, process, next=giver(c, [*items, some_runs(1000)]))
    started = twin.guest.spawn("app").start(Trace(Items([*items, some_runs(1000)]), "trace"))
    with pytest.raises(vmem.ConfigError, match="bytes at 0x4000000000000"):
        c.run(10**9)
    with pytest.raises(vmem.ConfigError, match="bytes at 0x4000000000000"):
        hv.run("1s")
    assert started.references == once
    assert c.told("vmem_program_state", "vmem_program_get_state", program).references == once
    assert c.run(10**9) == hv.run("1s").ended == "programs"
    state = assert_alike(c, vm, program, twin, started)
    assert state.references == 2 * once


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": 7}, "kind is 7"),
    "runs": ({"kind": 1, "count": 1}, "runs is NULL"),
    "addresses": ({"kind": 2, "count": 1}, "addresses is NULL"),
    "count": ({"kind": 1, "count": 1 << 60}, "2\\*\\*40"),
    "start": ({"kind": 3, "start": 1, "length": 4096}, "4096 bytes at 1"),
    "length": ({"kind": 4, "start": 4096, "length": 1 << 60}, "bytes at 4096"),
    "protection": ({"kind": 3, "start": 4096, "length": 4096, "protection": 8}, "protection is 8"),
    "reserved": ({"kind": 3, "start": 4096, "length": 4096, "reserved": 1}, "reserved is 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_item_is_said(installed: Path, name: str) -> None:
    c = CHost(memory=128 * MIB)
    vm = c.create_vm(memory=64 * MIB)
    members, message = BAD[name]

    @c.ffi.callback("vmem_trace_fn", error=1)
    def give(user: object, host: object, number: int, item: Any) -> int:
        assert item.size == c.ffi.sizeof("vmem_trace_item") and item.kind == item.start == 0
        for member, value in members.items():
            setattr(item, member, value)
        return 0

    process = c.spawn(vm)
    program = c.start_trace(vm, process, next=give)
    ended = c.ffi.new("uint32_t *")
    assert c.lib.vmem_host_run(c.host, MS, 0, ended) == c.lib.VMEM_E_CALLBACK
    with pytest.raises(vmem.VmemError, match=f"item 0 of a trace: .*{message}"):
        c.run(MS)
    c.check(c.lib.vmem_process_exit(c.host, vm, 0, process))  # the way out
    assert c.run(MS) == "programs"
    state = c.told("vmem_program_state", "vmem_program_get_state", program)
    assert c.ffi.string(state.stopped) == b"its process has exited"


def test_kinds_and_runs_of_items_are_checked(installed: Path) -> None:
    c = CHost(memory=128 * MIB)
    vm = c.create_vm(memory=64 * MIB)
    kinds = References(np.zeros(3, np.uint64), np.array([0, 1, 3], np.uint8))
    runs = some_runs(3)
    runs["stores"][1] = 1
    for item, message in ((kinds, "kind 3"), (runs, "run 1")):
        c.start_trace(vm, c.spawn(vm), next=giver(c, [item]))
        with pytest.raises(vmem.VmemError, match=message):
            c.run(MS)
        c.check(c.lib.vmem_vm_destroy(c.host, vm))
        vm = c.create_vm(memory=64 * MIB)
