"""What memory cost each VM, as rows of a table. docs/reference/outcome.md defines the numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vmem.durations import format_duration
from vmem.outcome import per_gib
from vmem.report.view import Shown
from vmem.sizes import format_size

_Cell = Callable[[Mapping[str, Any]], str]


def _time(name: str) -> _Cell:
    return lambda of: format_duration(of[name]) if of[name] >= 10 else f"{of[name]:.2f} ns"


def _count(name: str) -> _Cell:
    return lambda of: f"{of[name]:,}"


def _speed(size: str, time: str) -> _Cell:
    def cell(of: Mapping[str, Any]) -> str:
        each = per_gib(of[time], of[size])
        return "-" if each is None else f"{format_duration(each)} a GiB, {format_size(of[size])}"

    return cell


_ROWS: dict[str, _Cell] = {
    "stalled, some (PSI)": lambda of: f"{of['stall_some']:.2%}",
    "stalled, all (PSI)": lambda of: f"{of['stall_full']:.2%}",
    "access cost, p50": _time("access_p50_ns"),
    "access cost, p95": _time("access_p95_ns"),
    "access cost, p99": _time("access_p99_ns"),
    "pages from the host's swap": _count("host_swapped_in"),
    "pages to the host's swap": _count("host_swapped_out"),
    "pages from the guest's swap": _count("guest_swapped_in"),
    "pages to the guest's swap": _count("guest_swapped_out"),
    "OOM kills": _count("oom_kills"),
    "off the balloon's target, mean": lambda of: format_size(of["balloon_error_bytes"]),
    "freed by the balloon": _speed("freed_bytes", "freeing_ns"),
    "given back by the balloon": _speed("returned_bytes", "returning_ns"),
    "a burst's memory back": _speed("burst_bytes", "burst_ns"),
    "the longest burst": _time("burst_longest_ns"),
    "huge pages lost, host's": _count("host_huge_pages_lost"),
    "huge pages lost, guest's": _count("guest_huge_pages_lost"),
    "CPU time for reclaim": _time("reclaim_cpu_ns"),
}


def _of(cell: _Cell) -> Callable[[Shown], str]:
    return lambda vm: "" if vm.outcome is None else cell(vm.outcome)


ROWS: dict[str, Callable[[Shown], str]] = {name: _of(cell) for name, cell in _ROWS.items()}


def host_sentence(of: Mapping[str, Any], memory: int) -> str:
    """How full the host was, and what that cost all together."""
    half, most, nearly_all = (_time(f"access_p{part}_ns")(of) for part in (50, 95, 99))
    return (
        f"At most {of['vms_most']:,} VMs at a time, {of['vms_per_gib']:.2f} a GiB, were promised "
        f"{of['promised_ratio']:.2f} times the host's memory; guests held "
        f"{of['guest_mean_bytes'] / memory:.0%} of it on average, and at least "
        f"{format_size(of['free_least_bytes'])} were free. Of all accesses, half cost at most {half}, 95 % "
        f"{most}, 99 % {nearly_all}."
    )
