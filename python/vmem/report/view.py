"""What tables and charts show: a run's VMs, or the sums over each [[vm]] table if they are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmem import measures
from vmem.outcome import together
from vmem.rows import Row
from vmem.runner import Result

MOST = 12
"""More VMs than this are shown in sums."""


@dataclass(frozen=True)
class Shown:
    """One VM, or the sum of several that are alike."""

    label: str
    group: str
    """The name of its [[vm]] table."""
    mmu: str
    sync: str | None
    backing: str
    programs: tuple[str, ...]
    references: int
    counters: Mapping[str, int]
    rates: Mapping[str, float]
    cycles_by_cause: Mapping[str, int]
    memory: int
    vcpus: int
    resident: int
    running: int
    waiting: int
    runnable: int
    passed: int
    """Nanoseconds, summed over the vCPUs: of `passed` time, while it was there."""
    outcome: Mapping[str, Any] | None
    """What memory cost it, in a run over time; of several VMs, sums and the worst."""
    slowdown: float | None
    """Of several VMs, the largest."""
    rows: tuple[Row, ...]
    """One for each step."""

    @property
    def mode(self) -> str:
        """Such as "native" or "nested 2MiB": the mode, and the pages that the host backs with, if any.

        A shadow table that is not kept in step by tracing goes by the way it is: "unsync 4KiB".
        """
        if self.mmu == "native":
            return self.mmu
        return f"{self.mmu if self.sync in (None, 'trace') else self.sync} {self.backing}"

    def per_access(self, count: float) -> float:
        """`count`, divided by the accesses."""
        return count / self.counters["accesses"] if self.counters["accesses"] else 0.0


def view(result: Result) -> list[Shown]:
    """The VMs of a run in their order; sums over each [[vm]] table if there are more than `MOST`."""
    vms: list[dict[str, Any]] = result.summary["vms"]
    rows: dict[str, list[Row]] = {vm["name"]: [] for vm in vms}
    for row in result.timeline:
        rows[row.vm].append(row)
    key = "name" if len(vms) <= MOST else "group"
    groups: dict[str, list[dict[str, Any]]] = {}
    for vm in vms:
        groups.setdefault(vm[key], []).append(vm)
    return [
        _sum(name, members, [rows[vm["name"]] for vm in members], result.summary["costs"])
        for name, members in groups.items()
    ]


def _sum(name: str, vms: list[dict[str, Any]], rows: Sequence[list[Row]], costs: Mapping[str, int]) -> Shown:
    first = vms[0]
    counters = {key: sum(vm["counters"][key] for vm in vms) for key in first["counters"]}
    return Shown(
        label=name if len(vms) == 1 else f"{name} ({len(vms)})",
        group=first["group"],
        mmu=first["mmu"],
        sync=first["sync"],
        backing=first["backing"],
        programs=tuple(process["program"] for process in first["processes"]),
        references=sum(vm["references"] for vm in vms),
        counters=counters,
        rates=measures.rates(counters),
        cycles_by_cause=measures.cycles_by_cause(counters, costs),
        memory=sum(vm["memory_bytes"] for vm in vms),
        vcpus=sum(vm["vcpus"] for vm in vms),
        resident=sum(vm["resident_bytes"] for vm in vms),
        running=sum(vm["running_ns"] for vm in vms),
        waiting=sum(vm["waiting_ns"] for vm in vms),
        runnable=sum(vm["runnable_ns"] for vm in vms),
        passed=sum(vm["vcpus"] * vm.get("stayed_ns", rows[0][-1].time_ns) for vm in vms),
        outcome=together([vm["outcome"] for vm in vms]) if "outcome" in first else None,
        slowdown=max((vm["slowdown"] for vm in vms if vm.get("slowdown") is not None), default=None),
        rows=tuple(_sum_rows(name, step) for step in zip(*rows, strict=True)),
    )


def _sum_rows(name: str, rows: tuple[Row, ...]) -> Row:
    if len(rows) == 1:
        return rows[0]
    counted = [field for field in Row.__struct_fields__ if field not in ("step", "time_ns", "vm")]
    return Row(
        rows[0].step, rows[0].time_ns, name, *(sum(getattr(row, field) for row in rows) for field in counted)
    )
