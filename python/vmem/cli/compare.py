"""`vmem compare`: one trace in every MMU mode and variant, side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from vmem import measures
from vmem.cli.common import LateBar, json_option, plain_errors, write_json
from vmem.cpu import Cpu
from vmem.hypervisor import Backing, Hypervisor, MmuMode, ShadowSync
from vmem.report.numbers import short_size
from vmem.scenario import PAGES
from vmem.sizes import format_size, parse_size
from vmem.traces import Trace

SCHEMA = 1
"""Of the JSON: grows when a key changes its meaning or goes away."""

_PAGE = click.Choice(PAGES)
_GIB = 1 << 30
_CAUSES = {f"  {what}": name for name, what in measures.CAUSES.items()}
_EXITS = {f"  {reason}": f"exits.{reason}" for reason in measures.EXIT_REASONS}
_ONLY_IF_ANY = {*_CAUSES, *_EXITS}
"""Rows that are left out of a table where none of its columns has any."""


SECOND_LEVEL = 8192
"""Entries of the hypervisor's second-level TLB, where it keeps one: several times a processor's own."""


class Variant(NamedTuple):
    """A mode, and what is chosen within it."""

    label: str
    mmu: MmuMode
    sync: ShadowSync | None = None
    software_tlb: int | None = None


VARIANTS = (
    Variant("native", "native"),
    Variant("nested", "nested"),
    Variant("shadow\ntrace", "shadow", sync="trace"),
    Variant("shadow\nunsync", "shadow", sync="unsync"),
    Variant("shadow\nvtlb", "shadow", sync="vtlb"),
    Variant("software\nTLB", "software-tlb", software_tlb=0),
    Variant("software\nTLB + L2", "software-tlb", software_tlb=SECOND_LEVEL),
)


class _Column(NamedTuple):
    """One variant's results."""

    variant: Variant
    references: int
    segfaults: int
    killed: bool
    resident: int
    counters: dict[str, int]
    costs: dict[str, int]

    def slowdown(self, native: _Column) -> float:
        """Its cycles to those of the native machine."""
        return self.counters["cycles"] / max(1, native.counters["cycles"])

    def numbers(self, native: _Column) -> dict[str, Any]:
        return {
            "mmu": self.variant.mmu,
            "sync": self.variant.sync,
            "software_tlb": self.variant.software_tlb,
            "references": self.references,
            "segfaults": self.segfaults,
            "killed": self.killed,
            "resident_bytes": self.resident,
            "true_faults": measures.guest_faults(self.counters),
            "hidden_faults": measures.host_faults(self.counters),
            "exits": measures.exits(self.counters),
            "slowdown": self.slowdown(native),
            "rates": measures.rates(self.counters),
            "cycles_by_cause": measures.cycles_by_cause(self.counters, self.costs),
            "counters": self.counters,
        }


@click.command()
@click.argument("trace", required=False)
@click.option("--mechanisms", is_flag=True, help="Compare the ways to get memory back, instead of a trace.")
@click.option("--cpu", default="skylake-sp", show_default=True, help="The processor, by name.")
@click.option("--backing", type=_PAGE, default="4KiB", show_default=True, help="The host's largest page.")
@click.option("--page", type=_PAGE, default="4KiB", show_default=True, help="The guest's largest page.")
@click.option("--memory", help="The guest's memory, such as 2GiB; if not given, what the trace needs.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many references.")
@click.option(
    "--ghz", type=click.FloatRange(0.1, 10), help="Of the processors, with --mechanisms; 3 if not given."
)
@json_option
@plain_errors
def compare(
    trace: str | None,
    mechanisms: bool,
    cpu: str,
    backing: Backing,
    page: Backing,
    memory: str | None,
    limit: int | None,
    ghz: float | None,
    json_file: Path | None,
) -> None:
    """Run TRACE (a file, or a shipped trace's name) in every MMU mode and variant, side by side.

    With --mechanisms: every way in which a host gets memory back, on the same guest.
    """
    if mechanisms == (trace is not None):
        raise click.UsageError("accepted is either a TRACE or --mechanisms")
    if ghz is not None and not mechanisms:
        raise click.UsageError("--ghz: accepted with --mechanisms only; the modes are compared in cycles")
    if trace is None:
        from vmem.cli.mechanisms import compare_mechanisms

        size = parse_size(memory or "1GiB", "--memory")
        write_json(json_file, compare_mechanisms(size, backing, ghz or 3.0))
        return
    processor = Cpu.preset(cpu)
    opened = Trace.open(trace)
    with LateBar(f"reading {opened.name}") as bar:
        opened.totals(bar)
    size = _memory(opened, page) if memory is None else parse_size(memory, "--memory")
    columns = _run_modes(opened, processor, backing, page, size, limit)
    pages = f"pages: guest {page}, host {backing}"
    _print(f"{opened.name} on {processor.name}, {format_size(size)} of memory; {pages}", columns)
    write_json(
        json_file,
        {
            "schema": SCHEMA,
            "trace": opened.name,
            "cpu": cpu,
            "backing": backing,
            "page": page,
            "memory_bytes": size,
            "limit": limit,
            "costs": columns[0].costs,
            "modes": [column.numbers(columns[0]) for column in columns],
        },
    )


def _memory(trace: Trace, page: str) -> int:
    """Room for the trace's pages, twice, and for the guest kernel's own."""
    touched = trace.pages() << 12 if page == "4KiB" else sum(length for _, length, _ in trace.regions())
    unit = _GIB if page == "1GiB" else 64 << 20
    return (2 * touched // unit + 2) * unit


def _run_modes(
    trace: Trace, cpu: Cpu, backing: Backing, page: Backing, memory: int, limit: int | None
) -> list[_Column]:
    total = min(trace.references, limit or trace.references)
    columns = []
    with LateBar(f"running {trace.name}", unit="references", patience=0.5) as bar:
        for index, variant in enumerate(VARIANTS):

            def progress(done: int, before: int = index * total) -> None:
                bar(before + done, total * len(VARIANTS))

            # Native memory must be one piece: a host of twice the size has one.
            hypervisor = Hypervisor((2 * memory // _GIB + 2) * _GIB, cpu=cpu)
            vm = hypervisor.create_vm(
                "vm",
                memory=memory,
                mmu=variant.mmu,
                backing=backing,
                sync=variant.sync or "trace",
                software_tlb=variant.software_tlb or 0,
            )
            process = vm.guest.spawn(trace.name)
            process.load(trace, page=page)
            done = process.run(trace, limit, page=page, progress=progress)
            columns.append(
                _Column(
                    variant,
                    done.references,
                    done.segfaults,
                    done.killed,
                    vm.resident,
                    vm.counters(),
                    hypervisor.costs,
                )
            )
    return columns


def _rows() -> dict[str, Callable[[_Column], str]]:
    def count(name: str) -> Callable[[_Column], str]:
        return lambda column: f"{column.counters[name]:,}"

    def rate(name: str, form: str) -> Callable[[_Column], str]:
        return lambda column: format(measures.rates(column.counters)[name], form)

    def cause(name: str) -> Callable[[_Column], str]:
        return lambda column: f"{_per_access(column, name):.3f}"

    return {
        "references": lambda column: f"{column.references:,}",
        "L1 TLB hits, of accesses": rate("l1_hit_rate", ".3%"),
        "L2 TLB hits, of L1 misses": rate("l2_hit_rate", ".3%"),
        "TLB misses": count("tlb_misses"),
        "walks": count("walks"),
        "walk references": count("walk_refs"),
        "  in the guest's table": count("walk_refs_guest"),
        "  in the host's table": count("walk_refs_host"),
        "  for each walk": rate("refs_per_walk", ".2f"),
        "true faults, the guest's": lambda column: f"{measures.guest_faults(column.counters):,}",
        "hidden faults, the host's": lambda column: f"{measures.host_faults(column.counters):,}",
        "VM exits": lambda column: f"{measures.exits(column.counters):,}",
        **{label: count(name) for label, name in _EXITS.items()},
        "resident memory": lambda c: "-" if c.variant.mmu == "native" else short_size(c.resident),
        "cycles": count("cycles"),
        "cycles per access": rate("cycles_per_access", ".3f"),
        **{label: cause(name) for label, name in _CAUSES.items()},
    }


def _print(title: str, columns: list[_Column]) -> None:
    console = Console(highlight=False)
    console.print(title, style="bold")
    for table in _tables(columns, console):
        console.print(table)
    console.print("slowdown: cycles, to those of the native machine", style="dim")
    for column in columns:
        name = column.variant.label.replace("\n", " ")
        if column.killed:
            after = f"out of memory after {column.references:,} references"
            click.echo(f"Warning: {name}: {after}; --memory gives the guest more", err=True)
        if column.segfaults:
            click.echo(f"Warning: {name}: {column.segfaults:,} segmentation faults", err=True)


def _tables(columns: list[_Column], console: Console) -> list[Table]:
    """One table, or as many as the console is too narrow for: as many columns in each as fit."""
    rows = _cells(columns)
    tables: list[Table] = []
    first = 0
    while first < len(columns):
        last = len(columns)
        while last > first + 1 and _width(_table(columns, rows, first, last), console) > console.width:
            last -= 1
        tables.append(_table(columns, rows, first, last))
        first = last
    return tables


def _cells(columns: list[_Column]) -> dict[str, list[str]]:
    """What the rows hold, in every column."""
    rows = {label: [cell(column) for column in columns] for label, cell in _rows().items()}
    return rows | {"slowdown": [f"{column.slowdown(columns[0]):.3f}" for column in columns]}


def _table(columns: list[_Column], rows: dict[str, list[str]], first: int, last: int) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in columns[first:last]:
        table.add_column(column.variant.label, justify="right", no_wrap=True, vertical="bottom")
    for label, values in rows.items():
        here = values[first:last]
        if label not in _ONLY_IF_ANY or any(value not in ("0", "0.000") for value in here):
            table.add_row(label, *here)
    return table


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def _per_access(column: _Column, cause: str) -> float:
    cycles = measures.cycles_by_cause(column.counters, column.costs)[cause]
    return cycles / max(1, column.counters["accesses"])
