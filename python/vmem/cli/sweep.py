"""`vmem sweep`: a scenario run on a grid of keys."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from vmem.cli.common import Interrupted, LateBar, json_option, plain_errors, write_json
from vmem.columns import pyarrow
from vmem.errors import ConfigError
from vmem.output import check_directory, write_together
from vmem.sweep import executors
from vmem.sweep.executors import Workers
from vmem.sweep.grid import Base, Settings, parse_grid
from vmem.sweep.journal import Journal
from vmem.sweep.point import Outcome
from vmem.sweep.spread import Spread
from vmem.sweep.table import columns, rows, to_csv, to_parquet

JOURNAL = "points.jsonl"
_SHOWN = ("stall", "stall_worst", "slowdown_worst", "host_swapped_in", "guest_swapped_in", "vms_killed")

workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="So many processes; one for each processor if not given."
)
dask_option = click.option("--dask", "dask_address", metavar="ADDRESS", help="A Dask scheduler to run on.")


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--grid", "words", metavar="KEY=VALUE,…", multiple=True, required=True, help="What varies.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("vmem-sweep"),
    show_default=True,
    help="Directory for sweep.csv, sweep.html and the runs so far.",
)
@workers_option
@dask_option
@click.option("--parquet", is_flag=True, help="Write sweep.parquet too.")
@json_option
@plain_errors
def sweep(
    scenario: Path,
    words: tuple[str, ...],
    out: Path,
    workers: int | None,
    dask_address: str | None,
    parquet: bool,
    json_file: Path | None,
) -> None:
    """Run a SCENARIO for every combination of the grid's values, on all processors.

    Finished runs are kept in the output directory: the same command goes on where it was interrupted.
    """
    if parquet:
        pyarrow()
    grid = parse_grid([part for word in words for part in _split(word)])
    base = Base.read(scenario)
    for settings in grid:
        base.scenario(settings)
    check_directory(out)
    out.mkdir(parents=True, exist_ok=True)
    outcomes = _run(base, grid, out, workers_of(workers, dask_address))
    files = {"sweep.csv": to_csv(outcomes)}
    files |= _page(outcomes, scenario.stem)
    if parquet:
        files["sweep.parquet"] = to_parquet(outcomes)
    write_together(out, files)
    write_json(json_file, {"columns": columns(grid), "rows": rows(outcomes)})
    _print(outcomes, Console(highlight=False))
    failed = sum(outcome.error is not None for outcome in outcomes)
    if failed:
        first = next(outcome.error for outcome in outcomes if outcome.error)
        click.echo(f"Warning: {failed} of {len(outcomes)} runs failed, the first: {first}", err=True)
    click.echo(f"Wrote {', '.join(files)} to {out}")


def _page(outcomes: list[Outcome], name: str) -> dict[str, bytes]:
    """sweep.html, if plotly is there."""
    try:
        from vmem.report.heatmaps import sweep_html
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "plotly":
            raise
        return {}
    return {"sweep.html": sweep_html(outcomes, name).encode()}


def workers_of(workers: int | None, dask_address: str | None) -> Workers:
    """What `--workers` and `--dask` ask for. ConfigError if both do."""
    if dask_address is None:
        return executors.processes(workers)
    if workers is not None:
        raise ConfigError("--workers: accepted without --dask, whose cluster has its own")
    return executors.dask(dask_address)


def _split(word: str) -> list[str]:
    """ "a=1,2,b=3" is two axes."""
    parts: list[str] = []
    for piece in word.split(","):
        if "=" in piece or not parts:
            parts.append(piece)
        else:
            parts[-1] += f",{piece}"
    return parts


def _run(base: Base, grid: list[Settings], out: Path, workers: Workers) -> list[Outcome]:
    done = 0
    spread = Spread(base, workers.make, Journal(out / JOURNAL, base), width=workers.width)
    try:
        with LateBar("running", unit="runs", patience=0.5) as bar:

            def progress(made: int, total: int) -> None:
                nonlocal done
                done = made
                bar(made, total)

            return spread.outcomes(grid, progress)
    except KeyboardInterrupt:
        raise Interrupted(f"after {done} of {len(grid)} runs; the same command goes on from there.") from None
    finally:
        spread.close()


def _print(outcomes: list[Outcome], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    keys = list(outcomes[0].settings)
    for name in (*keys, *_SHOWN):
        table.add_column(
            name.replace("_", "\n"), justify="left" if name in keys else "right", overflow="fold"
        )
    for outcome in outcomes:
        shown = [str(outcome.settings[key]) for key in keys]
        table.add_row(*shown, *(cell(name, outcome) for name in _SHOWN))
    console.print(table)
    console.print("stall: share of vCPU time that waited for swap or disk.\n", style="dim")


def cell(name: str, outcome: Outcome) -> str:
    """One number as people read it."""
    if outcome.error is not None:
        return "failed"
    value = outcome.numbers[name]
    if value is None:
        return "-"
    if name.startswith(("stall", "pressure", "free")):
        return f"{value:.2%}"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
