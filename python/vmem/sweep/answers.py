"""What a run says to an operator: a few numbers of its summary and timeline."""

from __future__ import annotations

from collections.abc import Sequence

from vmem.rows import Row
from vmem.runner import Result

Answers = dict[str, float | int | None]

MEANING = {
    "vms": "virtual machines",
    "ratio": "memory promised to VMs, to the host's memory",
    "vms_killed": "VMs that the host gave up for want of memory",
    "oom_kills": "processes that guests killed for want of memory",
    "stopped": "programs that did not get to run to the end",
    "stall": "share of the VMs' vCPU time that waited for swap or disk",
    "stall_worst": "the same, of the VM that waited most",
    "stall_peak": "the same, of the worst step of any VM",
    "pressure_worst": "share of time in which something in the worst guest waited for memory (PSI some)",
    "slowdown_worst": "slowdown of the VM that was slowed most, if slowdowns are measured",
    "references": "references made, the work done",
    "access_p50_ns": "what half of all references cost at most, waits included",
    "access_p95_ns": "what 95 % of references cost at most",
    "access_p99_ns": "what 99 % of references cost at most",
    "host_swapped_in": "pages that the host read back from its swap",
    "host_swapped_out": "pages that the host wrote to it",
    "guest_swapped_in": "pages that guests read back from theirs",
    "guest_swapped_out": "pages that guests wrote to theirs",
    "double_paging": "pages that the host read back only for a guest to swap them",
    "free_least": "least share of the host's memory that was free",
    "ballooned_mean": "mean share of promised memory that balloons held",
    "balloon_error_mean": "mean distance of guests from their targets, as a share of their memory",
    "target_changes": "targets that the policy changed",
    "incidents": "what the policy did wrong",
}
"""Name of a column → what it is."""


def answers(result: Result) -> Answers:
    """The numbers of one run. Shares are from 0 to 1."""
    vms, host, rows = result.summary["vms"], result.summary["host"], result.timeline
    elapsed = max(1, result.summary["elapsed_ns"])
    there = [vm["vcpus"] * max(1, vm.get("stayed_ns", elapsed)) for vm in vms]
    waits = [vm["waiting_ns"] / time for vm, time in zip(vms, there, strict=True)]
    policy = result.summary.get("policy") or {}
    slow = [vm["slowdown"] for vm in vms if vm.get("slowdown") is not None]
    memory = {vm["name"]: vm["memory_bytes"] for vm in vms}
    vcpus = {vm["name"]: vm["vcpus"] for vm in vms}
    whole = host["outcome"]
    promised = whole["promised_ratio"] * host["memory_bytes"]
    held = [row for row in rows if row.step]
    return {
        "vms": len(vms),
        "ratio": whole["promised_ratio"],
        "vms_killed": sum(vm.get("killed", False) for vm in vms),
        "oom_kills": sum(vm["vmstat"].get("oom_kill", 0) for vm in vms),
        "stopped": sum(
            process["ended"] not in ("finished", "running") for vm in vms for process in vm["processes"]
        ),
        "stall": sum(vm["waiting_ns"] for vm in vms) / sum(there),
        "stall_worst": max(waits),
        "stall_peak": _worst_step(rows, vcpus),
        "pressure_worst": _worst_pressure(rows, elapsed),
        "slowdown_worst": max(slow, default=None),
        "references": sum(vm["references"] for vm in vms),
        "access_p50_ns": whole["access_p50_ns"],
        "access_p95_ns": whole["access_p95_ns"],
        "access_p99_ns": whole["access_p99_ns"],
        "host_swapped_in": host["stat"]["swapped_in"],
        "host_swapped_out": host["stat"]["swapped_out"],
        "guest_swapped_in": sum(vm["vmstat"].get("pswpin", 0) for vm in vms),
        "guest_swapped_out": sum(vm["vmstat"].get("pswpout", 0) for vm in vms),
        "double_paging": host["stat"]["double_paging"],
        "free_least": min(row.free_bytes for row in result.host) / host["memory_bytes"],
        "ballooned_mean": sum(row.balloon_bytes for row in held) / max(1, len(held)) * len(vms) / promised,
        "balloon_error_mean": _error(result, memory),
        "target_changes": policy.get("changes", 0),
        "incidents": policy.get("incidents", 0),
    }


def _worst_step(rows: Sequence[Row], vcpus: dict[str, int]) -> float:
    worst, before = 0.0, dict.fromkeys(vcpus, 0)
    for row in rows:
        passed = row.time_ns - before[row.vm]
        before[row.vm] = row.time_ns
        if row.step and passed > 0:
            worst = max(worst, min(1.0, row.waiting_ns / (vcpus[row.vm] * passed)))
    return worst


def _worst_pressure(rows: Sequence[Row], elapsed: int) -> float:
    stalls: dict[str, int] = {}
    for row in rows:
        stalls[row.vm] = stalls.get(row.vm, 0) + row.stall_some_ns
    return max(stalls.values(), default=0) / elapsed


def _error(result: Result, memory: dict[str, int]) -> float:
    if not result.policy:
        return 0.0
    return sum(abs(row.actual - row.target) / memory[row.vm] for row in result.policy) / len(result.policy)
