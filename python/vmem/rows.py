"""The course of a run: what happened in each step, and what held memory at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from vmem import measures
from vmem.hypervisor import Hypervisor, Vm


class Row(msgspec.Struct, frozen=True, array_like=True):
    """What one VM did in one step, and its memory at the end of it: a row of timeline.csv."""

    step: int
    time_ns: int
    vm: str
    references: int
    l1_hits: int
    l2_hits: int
    tlb_misses: int
    walks: int
    walk_refs_guest: int
    walk_refs_host: int
    guest_faults: int
    host_faults: int
    exits: int
    cycles: int
    running_ns: int
    waiting_ns: int
    runnable_ns: int
    resident_bytes: int
    guest_used_bytes: int
    guest_free_bytes: int
    swapped_bytes: int
    balloon_bytes: int
    balloon_target_bytes: int
    guest_swapped_bytes: int
    guest_cached_bytes: int
    stall_some_ns: int
    stall_full_ns: int


class HostRow(msgspec.Struct, frozen=True, array_like=True):
    """What held the host's memory at the end of one step: a row of host.csv."""

    step: int
    time_ns: int
    free_bytes: int
    table_bytes: int
    guest_bytes: int
    swap_used_bytes: int
    process_bytes: int
    swapped_in_pages: int
    swapped_out_pages: int
    double_paging_pages: int


TIMELINE = Row.__struct_fields__
"""Columns of timeline.csv; docs/reference/cli.md explains them."""
HOST_TIMELINE = HostRow.__struct_fields__
"""Columns of host.csv."""


class GuestMemory(NamedTuple):
    """Bytes, as the guest's kernel counts them. Zeros for a VM that the host has killed."""

    used: int = 0
    """Given out: to processes, to its page tables."""
    free: int = 0
    swapped: int = 0
    """In its own swap."""
    cached: int = 0
    """Its page cache."""


def guest_memory(vm: Vm) -> GuestMemory:
    """Asks the guest's kernel."""
    if vm.is_killed:
        return GuestMemory()
    info, free = vm.guest.meminfo(), vm.guest.free
    return GuestMemory(info["MemTotal"] - free, free, info["SwapTotal"] - info["SwapFree"], info["Cached"])


def balloon_bytes(vm: Vm) -> int:
    """What its balloon holds; 0 if it has none."""
    return 0 if vm.balloon is None else vm.memory - vm.balloon.actual


def _stalled(vm: Vm) -> tuple[int, int]:
    """Nanoseconds since boot in which some, and all, of its tasks that could run waited for memory."""
    pressure = vm.guest.pressure()
    return round(pressure["some"]["total"] * 1000), round(pressure["full"]["total"] * 1000)


class VmMeter:
    """One VM, and what its counters and its time were a step ago."""

    def __init__(self, vm: Vm, references: Callable[[], int]) -> None:
        self._vm, self._references = vm, references
        self._counters = dict.fromkeys(vm.counters(), 0)
        self._time = vm.time()
        self._stalled = 0, 0
        self._made = 0

    def row(self, step: int, now: int) -> Row:
        """What has happened since the last row."""
        counters, time, made = self._vm.counters(), self._vm.time(), self._references()
        c = {name: value - self._counters[name] for name, value in counters.items()}
        passed = time - self._time
        references = made - self._made
        self._counters, self._time, self._made = counters, time, made
        guest = guest_memory(self._vm)
        some, full = self._stalled
        self._stalled = _stalled(self._vm)
        balloon = self._vm.balloon
        return Row(
            step=step,
            time_ns=now,
            vm=self._vm.name,
            references=references,
            l1_hits=measures.l1_hits(c),
            l2_hits=c["l2_hits"],
            tlb_misses=c["tlb_misses"],
            walks=c["walks"],
            walk_refs_guest=c["walk_refs_guest"],
            walk_refs_host=c["walk_refs_host"],
            guest_faults=measures.guest_faults(c),
            host_faults=measures.host_faults(c),
            exits=measures.exits(c),
            cycles=c["cycles"],
            running_ns=passed.running,
            waiting_ns=passed.waiting,
            runnable_ns=passed.runnable,
            resident_bytes=self._vm.resident,
            guest_used_bytes=guest.used,
            guest_free_bytes=guest.free,
            swapped_bytes=self._vm.swapped,
            balloon_bytes=balloon_bytes(self._vm),
            balloon_target_bytes=self._vm.memory if balloon is None else balloon.target,
            guest_swapped_bytes=guest.swapped,
            guest_cached_bytes=guest.cached,
            stall_some_ns=self._stalled[0] - some,
            stall_full_ns=self._stalled[1] - full,
        )


_HELD = (
    *("resident_bytes", "guest_used_bytes", "guest_free_bytes", "swapped_bytes"),
    *("balloon_bytes", "balloon_target_bytes", "guest_swapped_bytes", "guest_cached_bytes"),
)


def absent(step: int, now: int, vm: str, last: Row | None) -> Row:
    """Of a VM that is not there, and so holds nothing; `last` is what it did before it left, if at all."""
    nothing = dict.fromkeys(Row.__struct_fields__, 0)
    did = {} if last is None else {k: v for k, v in msgspec.structs.asdict(last).items() if k not in _HELD}
    return Row(**{**nothing, **did, "step": step, "time_ns": now, "vm": vm})


def host_row(host: Hypervisor, step: int) -> HostRow:
    """Who holds the host's memory now."""
    info, stat = host.meminfo(), host.stat()
    return HostRow(
        step=step,
        time_ns=host.now,
        free_bytes=info["free"],
        table_bytes=info["tables"],
        guest_bytes=sum(vm.resident for vm in host),
        swap_used_bytes=info["swap_used"],
        process_bytes=info["processes"],
        swapped_in_pages=stat["swapped_in"],
        swapped_out_pages=stat["swapped_out"],
        double_paging_pages=stat["double_paging"],
    )
