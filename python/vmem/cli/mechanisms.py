"""`vmem compare --mechanisms`: every way to get memory back, on the same guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from vmem.cli.common import LateBar
from vmem.hypervisor import Backing
from vmem.mechanisms import COMPARED, Outcome, compare
from vmem.report.numbers import short_count, short_size
from vmem.sizes import format_size
from vmem.ways import WHAT

SCHEMA = 1
"""Of the JSON: grows when a key changes its meaning or goes away."""


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


_COLUMNS: dict[str, Callable[[Outcome], str]] = {
    "got\nback": lambda o: f"{100 * o.reclaim.bytes / o.wanted:.0f}%",
    "reclaim\ns/GiB": lambda o: _seconds(o.reclaim.seconds_per_gib),
    "return\ns/GiB": lambda o: _seconds(o.given_back.seconds_per_gib),
    "install\ns/GiB": lambda o: _seconds(o.install.seconds_per_gib),
    "done\nafter": lambda o: f"{o.reclaim.elapsed / 1e9:.1f}s",
    "exits": lambda o: short_count(o.reclaim.exits),
    "2 MiB\nlost": lambda o: short_count(o.huge_pages_lost),
    "free\nMiB": lambda o: f"{o.left_free >> 20:,}",
    "cache\nMiB": lambda o: f"{o.left_cached >> 20:,}",
}


def compare_mechanisms(memory: int, backing: Backing, ghz: float) -> dict[str, Any]:
    """Prints the table. Returns what `--json` writes."""
    with LateBar("comparing", unit="ways", patience=0.5) as bar:
        outcomes = compare(memory, backing=backing, ghz=ghz, progress=lambda done: bar(done, len(COMPARED)))
    _print(memory, backing, outcomes)
    return {
        "schema": SCHEMA,
        "memory_bytes": memory,
        "backing": backing,
        "ghz": ghz,
        "mechanisms": [_numbers(outcome) for outcome in outcomes],
    }


def _print(memory: int, backing: Backing, outcomes: list[Outcome]) -> None:
    console = Console()
    console.print(
        f"A guest of {format_size(memory)}, backed by {backing} pages: "
        f"{short_size(outcomes[0].wanted)} are wanted back",
        style="bold",
    )
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("way", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for outcome in outcomes:
        table.add_row(outcome.way, *(cell(outcome) for cell in _COLUMNS.values()))
    console.print(table)
    console.print(
        "s/GiB: CPU time of guest and host. Free, cache: what the host could not get, because the guest has "
        "it free in a form that this way does not see, or in its page cache. Wanted is all but what "
        "processes hold.",
        style="dim",
    )
    for way in COMPARED:
        console.print(f"  {way}: {WHAT[way]}", style="dim")


def _numbers(outcome: Outcome) -> dict[str, Any]:
    phases = {"reclaim": outcome.reclaim, "return": outcome.given_back, "install": outcome.install}
    return {
        "mechanism": outcome.way,
        "wanted_bytes": outcome.wanted,
        "left_free_bytes": outcome.left_free,
        "left_cached_bytes": outcome.left_cached,
        "left_used_bytes": outcome.left_used,
        "huge_pages_lost": outcome.huge_pages_lost,
        "swapped_out_pages": outcome.swapped_out,
        **{
            name: {
                "bytes": phase.bytes,
                "elapsed_ns": phase.elapsed,
                "cycles": phase.cycles,
                "exits": phase.exits,
                "host_ns": phase.host_time,
                "seconds_per_gib": phase.seconds_per_gib,
            }
            for name, phase in phases.items()
        },
    }
