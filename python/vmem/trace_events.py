"""A run as Chrome and Perfetto read it: the Trace Event Format.

Format: "Trace Event Format" (Google, 2016), JSON object form. A process for the host and one for each VM;
counters over time (C), what happened and what a policy decided as instants (i), names (M). Times are
microseconds of the host's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from vmem.policies import PolicyRow
from vmem.rows import HostRow, Row
from vmem.runner import Result

HOST = 1
"""The host's pid. Those of VMs follow, in their order."""
_HAPPENED, _POLICY = 1, 2
_THREADS = {_HAPPENED: "events", _POLICY: "policy"}
_MIB = 1 << 20

TraceEvent = dict[str, Any]


def trace_events(result: Result) -> bytes:
    """The JSON document. Equal runs give equal bytes."""
    pids = {"host": HOST} | {vm["name"]: HOST + 1 + i for i, vm in enumerate(result.summary["vms"])}
    timed = [
        *_host_counters(result.host),
        *_vm_counters(result, pids),
        *_decisions(result.policy, pids),
        *_incidents(result, pids),
        *_happened(result, pids),
    ]
    timed.sort(key=lambda event: event["ts"])
    document = {
        "displayTimeUnit": "ms",
        "otherData": {"scenario": result.summary["scenario"], "vmem": result.summary["vmem"]},
        "traceEvents": [*_names(result, pids), *timed],
    }
    return msgspec.json.encode(document) + b"\n"


def _names(result: Result, pids: Mapping[str, int]) -> Iterator[TraceEvent]:
    for name, pid in pids.items():
        shown = f"host of {result.summary['scenario']}" if pid == HOST else f"VM {name}"
        yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": shown}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
        for tid, thread in _THREADS.items():
            yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": thread}}


def _counter(name: str, pid: int, at: int, values: Mapping[str, float]) -> TraceEvent:
    return {"ph": "C", "name": name, "pid": pid, "tid": 0, "ts": at / 1000, "args": dict(values)}


def _instant(name: str, kind: str, pid: int, tid: int, at: int, values: Mapping[str, object]) -> TraceEvent:
    """`s`: a mark on its own track, not across the page."""
    return {
        "ph": "i",
        "s": "t",
        "name": name,
        "cat": kind,
        "pid": pid,
        "tid": tid,
        "ts": at / 1000,
        "args": dict(values),
    }


def _mib(**sizes: int) -> dict[str, float]:
    return {name.replace("_", " "): size / _MIB for name, size in sizes.items()}


def _host_counters(rows: list[HostRow]) -> Iterator[TraceEvent]:
    for row in rows:
        held = _mib(
            VMs=row.guest_bytes, processes=row.process_bytes, tables=row.table_bytes, free=row.free_bytes
        )
        yield _counter("memory, MiB", HOST, row.time_ns, held)
        yield _counter("swap used, MiB", HOST, row.time_ns, _mib(used=row.swap_used_bytes))
        swapped = {"in": row.swapped_in_pages, "out": row.swapped_out_pages}
        yield _counter("swapped since the beginning, pages", HOST, row.time_ns, swapped)


def _vm_counters(result: Result, pids: Mapping[str, int]) -> Iterator[TraceEvent]:
    before: dict[str, Row] = {}
    for row in result.timeline:
        pid, at = pids[row.vm], row.time_ns
        held = _mib(
            resident=row.resident_bytes,
            ballooned=row.balloon_bytes,
            swapped_by_host=row.swapped_bytes,
            swapped_by_guest=row.guest_swapped_bytes,
        )
        yield _counter("memory, MiB", pid, at, held)
        used = _mib(used=row.guest_used_bytes, cached=row.guest_cached_bytes, free=row.guest_free_bytes)
        yield _counter("guest's view, MiB", pid, at, used)
        yield _counter("balloon target, MiB", pid, at, _mib(target=row.balloon_target_bytes))
        counts = {"TLB misses": row.tlb_misses, "exits": row.exits, "references": row.references}
        for name, count in counts.items():
            yield _counter(f"{name} in the step", pid, at, {name: count})
        passed = at - before[row.vm].time_ns if row.vm in before else 0
        if passed:
            parts = {"running": row.running_ns, "waiting": row.waiting_ns, "no CPU": row.runnable_ns}
            shares = {name: part / passed for name, part in parts.items()}
            yield _counter("vCPUs", pid, at, shares)
        before[row.vm] = row


def _decisions(rows: list[PolicyRow], pids: Mapping[str, int]) -> Iterator[TraceEvent]:
    asked: dict[int, int] = {}
    for row in rows:
        asked[row.time_ns] = asked.get(row.time_ns, 0) + (row.wanted is not None)
        if row.wanted is not None:
            numbers = {
                "bytes": row.wanted,
                "until_then_bytes": row.target,
                "actual_bytes": row.actual,
                "resident_bytes": row.resident,
                "guest_free_bytes": row.guest_free,
            }
            yield _instant("target changed", "policy", pids[row.vm], _POLICY, row.time_ns, numbers)
    for at, changes in asked.items():
        yield _instant("decision", "policy", HOST, _POLICY, at, {"changes": changes})


def _incidents(result: Result, pids: Mapping[str, int]) -> Iterator[TraceEvent]:
    policy = result.summary.get("policy") or {}
    for found in policy.get("first_incidents", ()):
        pid = pids.get(found["subject"], HOST)
        yield _instant("incident", "policy", pid, _POLICY, found["at_ns"], {"message": found["message"]})


def _happened(result: Result, pids: Mapping[str, int]) -> Iterator[TraceEvent]:
    """What is no VM's own, or a process's of a VM that is not named, is on the host's track."""
    for event in result.events:
        values = {"subject": event.subject, **event.numbers}
        yield _instant(event.kind, "event", pids.get(event.subject, HOST), _HAPPENED, event.at, values)
