"""One picture of a host at work: who holds its memory, how its VMs fare, what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from string import ascii_lowercase, ascii_uppercase, digits

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vmem.durations import format_duration
from vmem.policies import PolicyRow
from vmem.report.numbers import short_size

_LETTERS = ascii_uppercase + ascii_lowercase + digits
_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")
_FREE, _TABLES, _PROCESSES, _OTHERS = "·", "=", "%", "#"
_BESIDE = 12
"""Lines that are not a VM's: bar, headers, decisions, and the prompt after them."""
_DECISIONS = 3


@dataclass(frozen=True)
class VmState:
    """One VM now. Bytes."""

    name: str
    memory: int
    demand: int
    """Given out by its kernel."""
    resident: int
    ballooned: int
    target: int
    swapped_by_host: int
    swapped_by_guest: int
    stall: float
    """Share of its vCPUs' time that waited for disk or swap, since the picture before."""
    killed: bool


@dataclass(frozen=True)
class HostState:
    """A host now. Bytes, nanoseconds."""

    doing: str
    done: float
    """Share of the run, 0 to 1."""
    now: int
    speed: float
    """Simulated seconds in a second of the wall clock."""
    total: int
    free: int
    tables: int
    processes: int
    swap_total: int
    swap_used: int
    state: str
    vms: tuple[VmState, ...]
    decisions: tuple[PolicyRow, ...]
    """The last ones that changed a target, ascending."""


def letter(index: int) -> str:
    """Of a VM in the bar: told apart without colour, too."""
    return _LETTERS[index] if index < len(_LETTERS) else _OTHERS


def frame(host: HostState, width: int, height: int) -> RenderableType:
    """The picture, within a terminal of that size."""
    parts: list[RenderableType] = [_head(host), _bar(host, max(10, width - 2)), _numbers(host)]
    room = max(1, height - _BESIDE)
    parts.append(_vms(host, room))
    parts += _decided(host)
    return Group(*parts)


def _head(host: HostState) -> Text:
    speed = f"{host.speed:.3g}" if host.speed < 1000 else f"{host.speed:,.0f}"
    return Text.assemble(
        (f"{host.doing}: {host.done:.0%}", "bold"),
        f"   {format_duration(host.now)} simulated, {speed} simulated s/s",
        no_wrap=True,
        overflow="ellipsis",
    )


def cells(parts: Sequence[int], total: int, width: int) -> list[int]:
    """How many of `width` cells each part gets; their ends are rounded, so they never sum to more."""
    ends, sum_ = [0], 0
    for part in parts:
        sum_ += part
        ends.append(min(width, round(width * sum_ / max(1, total))))
    return [end - start for start, end in pairwise(ends)]


def _bar(host: HostState, width: int) -> Text:
    held = [
        *((letter(i), vm.resident, _COLOURS[i % len(_COLOURS)]) for i, vm in enumerate(host.vms)),
        (_PROCESSES, host.processes, "white"),
        (_TABLES, host.tables, "white"),
    ]
    bar = Text("[", no_wrap=True)
    counts = cells([size for _, size, _ in held], host.total, width)
    for (mark, _, colour), count in zip(held, counts, strict=True):
        bar.append(mark * count, style=colour)
    bar.append(_FREE * (width - sum(counts)), style="dim")
    return bar.append("]")


def _numbers(host: HostState) -> Text:
    ballooned = sum(vm.ballooned for vm in host.vms)
    swap = f" of {short_size(host.swap_total)}" if host.swap_total else ""
    text = (
        f"{short_size(host.free)} free of {short_size(host.total)} ({host.state}); "
        f"{short_size(host.swap_used)}{swap} swapped; {short_size(ballooned)} ballooned; "
        f"{_FREE} free, {_TABLES} tables, {_PROCESSES} the host's own programs"
    )
    return Text(text, style="dim", no_wrap=True, overflow="ellipsis")


def _vms(host: HostState, room: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("VM", no_wrap=True, overflow="ellipsis", max_width=16)
    for head in ("demand", "resident", "balloon", "target", "stall", "host swap", "own swap"):
        table.add_column(head, justify="right", no_wrap=True)
    shown = _most_interesting(host.vms, room)
    for index in shown:
        table.add_row(*_row(index, host.vms[index]))
    if len(shown) < len(host.vms):
        table.add_row("", f"{len(host.vms) - len(shown)} more", style="dim")
    return table


def _row(index: int, vm: VmState) -> list[str | Text]:
    name: list[str | Text] = [Text(letter(index), style=_COLOURS[index % len(_COLOURS)]), vm.name]
    if vm.killed:
        return [*name, "killed"]
    sizes = [vm.demand, vm.resident, vm.ballooned, vm.target]
    stall = Text(f"{vm.stall:.1%}", style="bold red" if vm.stall >= 0.01 else "")
    swapped = [short_size(vm.swapped_by_host), short_size(vm.swapped_by_guest)]
    return [*name, *(short_size(size) for size in sizes), stall, *swapped]


def _most_interesting(vms: Sequence[VmState], room: int) -> list[int]:
    """Those that hold most if there are too many, in their order."""
    if len(vms) <= room:
        return list(range(len(vms)))
    ranked = sorted(range(len(vms)), key=lambda i: (-vms[i].resident, i))
    return sorted(ranked[: max(1, room - 1)])


def _decided(host: HostState) -> list[RenderableType]:
    if not host.decisions:
        return []
    lines = [
        Text(
            f"{format_duration(row.time_ns)}: {row.vm} from {short_size(row.target)} to "
            f"{short_size(row.wanted or 0)}, keeps {short_size(row.actual)}",
            no_wrap=True,
            overflow="ellipsis",
        )
        for row in host.decisions[-_DECISIONS:]
    ]
    return [Text("last targets", style="bold"), *lines]
