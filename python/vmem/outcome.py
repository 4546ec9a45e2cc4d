"""What memory cost a VM in a run over time, and its host. docs/reference/outcome.md defines every number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vmem import measures
from vmem.hypervisor import Hypervisor, Vm
from vmem.programs import Program
from vmem.rows import HostRow

Outcome = dict[str, Any]

_PARTS = {"access_p50_ns": (1, 2), "access_p95_ns": (95, 100), "access_p99_ns": (99, 100)}
_ADDED = (
    *("host_swapped_in", "host_swapped_out", "guest_swapped_in", "guest_swapped_out", "oom_kills"),
    *("shrinks", "shrinks_given_up", "freed_bytes", "freeing_ns"),
    *("grows", "grows_given_up", "returned_bytes", "returning_ns"),
    *("bursts", "bursts_cut_short", "burst_bytes", "burst_ns"),
    *("host_huge_pages_lost", "guest_huge_pages_lost", "reclaim_cpu_ns", "balloon_error_bytes"),
)
"""Of several VMs: their sum."""
_WORST = (
    *("stall_some", "stall_full", *_PARTS),
    *("freeing_longest_ns", "returning_longest_ns", "burst_longest_ns"),
)
"""Of several VMs: the largest."""


def outcome(vm: Vm, programs: Sequence[Program], stayed: int, host: Hypervisor) -> Outcome:
    """Of a VM that has been there for `stayed` nanoseconds."""
    pressure, vmstat, stat = vm.guest.pressure(), vm.guest.vmstat(), vm.stat()
    counters, costs = vm.counters(), host.costs
    reclaim = measures.cycles_by_cause(counters, costs)["reclaim"] / host.ghz + vm.scans()["host_ns"]
    bursts = [program.bursts for program in programs]
    found: Outcome = {
        "stall_some": _share(pressure["some"]["total"] * 1000, stayed),
        "stall_full": _share(pressure["full"]["total"] * 1000, stayed),
        **percentiles(program.costs for program in programs),
        "host_swapped_in": stat["swapped_in"],
        "host_swapped_out": stat["swapped_out"],
        "guest_swapped_in": vmstat["pswpin"],
        "guest_swapped_out": vmstat["pswpout"],
        "oom_kills": vmstat["oom_kill"],
        "host_huge_pages_lost": stat["split"],
        "guest_huge_pages_lost": vmstat["thp_split_pmd"],
        "reclaim_cpu_ns": round(reclaim),
        "bursts": sum(burst.done for burst in bursts),
        "bursts_cut_short": sum(burst.cut_short for burst in bursts),
        "burst_bytes": sum(burst.size for burst in bursts),
        "burst_ns": sum(burst.time for burst in bursts),
        "burst_longest_ns": max((burst.longest for burst in bursts), default=0),
    }
    return {**found, **_resizes(vm)}


def _resizes(vm: Vm) -> Outcome:
    """How the guest followed the targets of its balloon."""
    ways = ((0,) * 5,) * 2 if vm.balloon is None else (vm.balloon.shrinking, vm.balloon.growing)
    names = (
        ("shrinks", "shrinks_given_up", "freed_bytes", "freeing_ns", "freeing_longest_ns"),
        ("grows", "grows_given_up", "returned_bytes", "returning_ns", "returning_longest_ns"),
    )
    return {
        name: value for of, way in zip(names, ways, strict=True) for name, value in zip(of, way, strict=True)
    }


def balloon_error(memory: int, targets: Iterable[tuple[int, int]]) -> int:
    """Mean distance of what a guest kept from its target, in bytes; of (target, bytes in the balloon)."""
    errors = [abs(memory - held - target) for target, held in targets]
    return round(sum(errors) / len(errors)) if errors else 0


def density(vms: Sequence[Mapping[str, Any]], memory: int, rows: Sequence[HostRow]) -> Outcome:
    """How full the host was: of `vms` with `arrived_ns`, `departed_ns` and `memory_bytes`."""
    changes = [(vm["arrived_ns"], 1, vm["memory_bytes"]) for vm in vms]
    changes += [(vm["departed_ns"], -1, -vm["memory_bytes"]) for vm in vms if vm["departed_ns"] is not None]
    most = promised_most = there = promised = 0
    for _, come, size in sorted(changes):
        there, promised = there + come, promised + size
        most, promised_most = max(most, there), max(promised_most, promised)
    held = rows[1:] or rows
    return {
        "vms_most": most,
        "vms_per_gib": most * (1 << 30) / memory,
        "promised_ratio": promised_most / memory,
        "guest_mean_bytes": round(sum(row.guest_bytes for row in held) / len(held)),
        "free_least_bytes": min(row.free_bytes for row in rows),
    }


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Of several VMs: sums of what can be added, and otherwise the worst."""
    found: Outcome = {name: sum(one[name] for one in outcomes) for name in _ADDED}
    return {**found, **{name: max(one[name] for one in outcomes) for name in _WORST}}


def percentiles(costs: Iterable[Mapping[int, int]]) -> dict[str, float]:
    """Nanoseconds that half, 95 % and 99 % of all references cost at most; 0 without any.

    Each of `costs` has numbers of references by picoseconds.
    """
    merged: Counter[int] = Counter()
    for cost in costs:
        merged.update(cost)
    total = merged.total()
    found, reached = dict.fromkeys(_PARTS, 0.0), 0
    left = list(_PARTS.items())
    for picoseconds, references in sorted(merged.items()):
        reached += references
        while left and reached * left[0][1][1] >= total * left[0][1][0]:
            found[left.pop(0)[0]] = picoseconds / 1000
    return found


def per_gib(nanoseconds: int, size: int) -> float | None:
    """Nanoseconds for each GiB; None if there was nothing."""
    return nanoseconds * (1 << 30) / size if size else None


def _share(part: float, whole: int) -> float:
    return min(1.0, part / whole) if whole else 0.0
