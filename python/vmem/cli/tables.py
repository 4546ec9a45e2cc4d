"""A run as tables that are readable at 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from vmem import measures
from vmem.durations import format_duration
from vmem.outcome import per_gib
from vmem.report.numbers import short_count, short_size
from vmem.report.view import Shown

Cell = Callable[[Shown], str]
OutcomeCell = Callable[[Mapping[str, Any]], str]


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.99995 else "100.0%" if share < 1 else "100%"


_TRANSLATION: dict[str, Cell] = {
    "refs": lambda vm: short_count(vm.references),
    "L1 hit": lambda vm: _percent(vm.rates["l1_hit_rate"]),
    "L2 hit": lambda vm: _percent(vm.rates["l2_hit_rate"]),
    "misses": lambda vm: short_count(vm.counters["tlb_misses"]),
    "walks": lambda vm: short_count(vm.counters["walks"]),
    "guest\nrefs": lambda vm: short_count(vm.counters["walk_refs_guest"]),
    "host\nrefs": lambda vm: short_count(vm.counters["walk_refs_host"]),
}

_COST: dict[str, Cell] = {
    "guest\nfaults": lambda vm: short_count(measures.guest_faults(vm.counters)),
    "host\nfaults": lambda vm: short_count(measures.host_faults(vm.counters)),
    "exits": lambda vm: short_count(measures.exits(vm.counters)),
    "cycles": lambda vm: short_count(vm.counters["cycles"]),
    "cycles\nper ref": lambda vm: f"{vm.rates['cycles_per_access']:.2f}",
    "resident": lambda vm: "-" if vm.mmu == "native" else short_size(vm.resident),
}


_TIME: dict[str, Cell] = {
    "slowdown": lambda vm: "-" if vm.slowdown is None else f"{vm.slowdown:.2f}",
    "running": lambda vm: _of_time(vm, vm.running),
    "waiting for\ndisk or swap": lambda vm: _of_time(vm, vm.waiting),
    "without a\nphysical CPU": lambda vm: _of_time(vm, vm.runnable),
}


_OUTCOME: dict[str, OutcomeCell] = {
    "stalled": lambda of: f"{of['stall_some']:.1%}",
    "access\np50": lambda of: _time(of["access_p50_ns"]),
    "\np99": lambda of: _time(of["access_p99_ns"]),
    "host swap\nin / out": lambda of: _two(of["host_swapped_in"], of["host_swapped_out"]),
    "guest swap\nin / out": lambda of: _two(of["guest_swapped_in"], of["guest_swapped_out"]),
    "OOM\nkills": lambda of: short_count(of["oom_kills"]),
}

_RESIZES: dict[str, OutcomeCell] = {
    "off\ntarget": lambda of: short_size(of["balloon_error_bytes"]),
    "a GiB\nfree in": lambda of: _per_gib(of["freeing_ns"], of["freed_bytes"]),
    "a GiB\nback in": lambda of: _per_gib(of["burst_ns"], of["burst_bytes"]),
    "longest\nburst": lambda of: _time(of["burst_longest_ns"]),
    "huge pages\nlost": lambda of: short_count(of["host_huge_pages_lost"] + of["guest_huge_pages_lost"]),
    "CPU for\nreclaim": lambda of: _time(of["reclaim_cpu_ns"]),
}


def _time(nanoseconds: float) -> str:
    return format_duration(nanoseconds) if nanoseconds >= 10 else f"{nanoseconds:.1f} ns"


def _two(first: int, second: int) -> str:
    return f"{short_count(first)} / {short_count(second)}"


def _per_gib(nanoseconds: int, size: int) -> str:
    each = per_gib(nanoseconds, size)
    return "-" if each is None else _time(each)


def _of_outcome(columns: dict[str, OutcomeCell]) -> dict[str, Cell]:
    def cell(of: OutcomeCell) -> Cell:
        return lambda vm: "-" if vm.outcome is None else of(vm.outcome)

    return {head: cell(of) for head, of in columns.items()}


def _of_time(vm: Shown, part: int) -> str:
    return f"{part / max(1, vm.passed):.1%}"


def print_run(shown: Sequence[Shown], console: Console) -> None:
    """What each VM's accesses met, and what that cost."""
    console.print(_table(shown, _TRANSLATION))
    console.print(
        "L2 hit: of those that missed L1. Guest, host refs: table entries that walks read.\n", style="dim"
    )
    console.print(_table(shown, _COST))
    console.print("Resident: what the host has given; a native machine owns its memory.\n", style="dim")
    if any(vm.slowdown is not None for vm in shown):
        console.print(_table(shown, _TIME))
        console.print(
            "Of its vCPUs' time. Slowdown: against the same VM alone, with memory in plenty.\n", style="dim"
        )
    if any(vm.outcome is not None for vm in shown):
        console.print(_table(shown, _of_outcome(_OUTCOME)))
        console.print("Stalled: something waited for memory (PSI some). Swap: pages.\n", style="dim")
    if any(vm.outcome and (vm.outcome["shrinks"] or vm.outcome["bursts"]) for vm in shown):
        console.print(_table(shown, _of_outcome(_RESIZES)))
        console.print(
            "Free: by the balloon, since its target fell. Back: since the demand grew.\n", style="dim"
        )


def _table(shown: Sequence[Shown], columns: dict[str, Cell]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("\nVM", overflow="fold")
    table.add_column("\nmode", no_wrap=True)
    for head in columns:
        table.add_column(head if "\n" in head else f"\n{head}", justify="right", no_wrap=True)
    for vm in shown:
        table.add_row(vm.label, vm.mode, *(cell(vm) for cell in columns.values()))
    return table
