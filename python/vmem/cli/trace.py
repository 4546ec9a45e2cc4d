"""`vmem trace`: look at, convert and record memory traces."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vmem.errors import VmemError
from vmem.sizes import format_size
from vmem.traces import FORMATS, WRITABLE, Trace, convert, record, shipped
from vmem.traces.output import atomic_output
from vmem.traces.record import BACKENDS, Backend
from vmem.traces.vmt_writer import Codec

P = ParamSpec("P")
R = TypeVar("R")

_PATIENCE = 2.0
"""Seconds before a progress bar appears."""


def _plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """vmem's errors as one line on standard error, exit status 1."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except VmemError as error:
            raise click.ClickException(str(error)) from None

    return wrapped


class _LateBar:
    """A progress bar on standard error for what takes more than two seconds; a callback for `progress=`."""

    def __init__(self, what: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(what, total=None)
        self._start = time.monotonic()
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        if not self._shown:
            if time.monotonic() - self._start < _PATIENCE:
                return
            self._progress.start()
            self._shown = True
        self._progress.update(self._task, completed=done, total=total)


@click.group()
def trace() -> None:
    """Look at, convert and record memory traces."""


@trace.command()
@click.argument("file")
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    help="Take FILE as this format; otherwise its content tells.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the numbers to this file too.",
)
@_plain_errors
def info(file: str, format_: str | None, json_file: Path | None) -> None:
    """What is in FILE: a trace in any format, plain or gz, xz, zst; or the name of a shipped trace."""
    opened = Trace.open(file, format=format_)
    with _LateBar(f"reading {opened.name}") as bar:
        totals = opened.totals(bar)
    size = opened.path.stat().st_size if opened.path else 0
    numbers: dict[str, object] = {
        "file": str(opened.path),
        "format": opened.format,
        "bytes": size,
        **opened.details(),
        "references": totals.references,
        "loads": totals.loads,
        "stores": totals.stores,
        "fetches": totals.fetches,
        "runs": totals.runs,
        "map_events": totals.events,
        "pages": totals.pages,
        "footprint_bytes": totals.pages * 4096,
        "regions": [
            {"start": start, "length": length, "prot": prot} for start, length, prot in totals.regions
        ],
    }
    _print_info(numbers, totals.references)
    if json_file is not None:
        with atomic_output(json_file) as output:
            output.write(msgspec.json.format(msgspec.json.encode(numbers)) + b"\n")


def _print_info(numbers: dict[str, object], references: int) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in numbers.items():
        if key == "regions":
            continue
        text = f"{value:,}" if isinstance(value, int) else str(value)
        if key in ("loads", "stores", "fetches") and references and isinstance(value, int):
            text += f"  ({value / references:.1%})"
        elif key in ("bytes", "footprint_bytes") and isinstance(value, int):
            text += f"  ({format_size(value)})"
        table.add_row(key.replace("_", " "), text)
    console = Console()
    console.print(table)
    regions = numbers["regions"]
    assert isinstance(regions, list)
    detail = Table("region", "length", "prot", box=None, pad_edge=False)
    for region in regions[:20]:
        detail.add_row(f"{region['start']:#x}", format_size(region["length"]), region["prot"])
    console.print(detail)
    if len(regions) > 20:
        console.print(f"… and {len(regions) - 20} more regions (all of them with --json)")


@trace.command("convert")
@click.argument("file")
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    help="Take FILE as this format; otherwise its content tells.",
)
@click.option(
    "--to", "target", type=click.Choice(WRITABLE), help="Write this format; otherwise OUTPUT's name tells."
)
@click.option(
    "--codec",
    type=click.Choice(["xz", "zstd", "stored"]),
    default="xz",
    show_default=True,
    help="Compression inside a .vmt.",
)
@_plain_errors
def convert_command(file: str, output: Path, format_: str | None, target: str | None, codec: Codec) -> None:
    """Write the trace FILE as OUTPUT. A page-compact .vmt is exact for every counter and far smaller than any other format."""
    opened = Trace.open(file, format=format_)
    with _LateBar(f"converting {opened.name}") as bar:
        convert(opened, output, format=target, codec=codec, progress=bar)
    click.echo(f"{output}: {format_size(output.stat().st_size)}")


@trace.command("record", context_settings={"ignore_unknown_options": True})
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The .vmt to write; PROGRAM.vmt if not given.",
)
@click.option(
    "--backend", type=click.Choice(BACKENDS), default="auto", show_default=True, help="What records."
)
@click.option("--limit", type=click.IntRange(min=1), help="Stop the program after about so many references.")
@click.option(
    "--codec",
    type=click.Choice(["xz", "zstd", "stored"]),
    default="xz",
    show_default=True,
    help="Compression inside the .vmt.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_plain_errors
def record_command(
    output: Path | None, backend: Backend, limit: int | None, codec: Codec, command: tuple[str, ...]
) -> None:
    """Run a program and record its memory references: vmem trace record -o ls.vmt -- /bin/ls -l

    With qemu-user and a C compiler its mapping calls (mmap, munmap, mprotect, brk) are recorded too; valgrind is the second choice.
    """
    path = output or Path(Path(command[0]).name + ".vmt")
    console = Console(stderr=True)
    with console.status("recording…") as status:
        result = record(
            command,
            path,
            backend=backend,
            limit=limit,
            codec=codec,
            progress=lambda references: status.update(f"recording… {references:,} references"),
        )
    t = result.totals
    size = path.stat().st_size
    click.echo(
        f"{path}: {t.references:,} references ({t.loads:,} loads, {t.stores:,} stores, {t.fetches:,} fetches) to {t.pages:,} pages, "
        f"{t.events:,} mapping calls, {format_size(size)}, recorded by {result.backend}"
    )
    if result.returncode is None:
        click.echo(f"the program was stopped at the limit of {limit:,} references")
    elif result.returncode != 0:
        click.echo(f"the program ended with status {result.returncode}", err=True)
        sys.exit(1 if result.returncode < 0 else result.returncode)


@trace.command("list")
def list_command() -> None:
    """The traces that come with vmem."""
    table = Table("name", "references", "pages", "size", "command", box=None, pad_edge=False)
    for name, path in shipped().items():
        opened = Trace.open(path)
        details = opened.details()
        table.add_row(
            name,
            f"{opened.references:,}",
            f"{opened.pages():,}",
            format_size(path.stat().st_size),
            details.get("command", ""),
        )
    Console().print(table)
