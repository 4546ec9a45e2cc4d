"""`vmem trace`: look at, convert and record memory traces."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from vmem.cli.common import LateBar, json_option, plain_errors, write_json
from vmem.sizes import format_size
from vmem.traces import FORMATS, WRITABLE, Trace, convert, record, shipped
from vmem.traces.record import BACKENDS, Backend
from vmem.traces.vmt_writer import Codec


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
@json_option
@plain_errors
def info(file: str, format_: str | None, json_file: Path | None) -> None:
    """What is in FILE: a trace in any format, plain or gz, xz, zst; or the name of a shipped trace."""
    opened = Trace.open(file, format=format_)
    with LateBar(f"reading {opened.name}") as bar:
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
    write_json(json_file, numbers)


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
        console.print(f"... and {len(regions) - 20} more regions (all of them with --json)")


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
@plain_errors
def convert_command(file: str, output: Path, format_: str | None, target: str | None, codec: Codec) -> None:
    """Write the trace FILE as OUTPUT.

    A page-compact .vmt is exact for every counter and far smaller than any other format.
    """
    opened = Trace.open(file, format=format_)
    with LateBar(f"converting {opened.name}") as bar:
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
@plain_errors
def record_command(
    output: Path | None, backend: Backend, limit: int | None, codec: Codec, command: tuple[str, ...]
) -> None:
    """Run a program and record its memory references: vmem trace record -o ls.vmt -- /bin/ls -l

    With qemu-user and a C compiler its mapping calls (mmap, munmap, mprotect, brk) are recorded too;
    valgrind is the second choice.
    """
    path = output or Path(Path(command[0]).name + ".vmt")
    console = Console(stderr=True)
    with console.status("recording...") as status:
        result = record(
            command,
            path,
            backend=backend,
            limit=limit,
            codec=codec,
            progress=lambda references: status.update(f"recording... {references:,} references"),
        )
    t = result.totals
    size = path.stat().st_size
    click.echo(
        f"{path}: {t.references:,} references ({t.loads:,} loads, {t.stores:,} stores, "
        f"{t.fetches:,} fetches) to {t.pages:,} pages, {t.events:,} mapping calls, "
        f"{format_size(size)}, recorded by {result.backend}"
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
