"""`vmem run`: a scenario, its tables and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import click
import msgspec
from rich.console import Console

from vmem.cli.common import (
    Interrupted,
    LateBar,
    check_parent,
    json_bytes,
    json_option,
    plain_errors,
    write_json,
)
from vmem.cli.live import LiveView
from vmem.cli.tables import print_run
from vmem.columns import pyarrow, to_csv, to_parquet
from vmem.durations import format_duration
from vmem.output import atomic_output, check_directory, write_together
from vmem.policies import PolicyRow
from vmem.report.numbers import short_count
from vmem.report.view import view
from vmem.rows import HostRow, Row
from vmem.runner import Progress, Result, Runner
from vmem.scenario import BUILT_IN, Scenario
from vmem.timed import TimedRunner
from vmem.trace_events import trace_events

NO_PLOTLY = "No report.html: it needs plotly, which is not installed (pip install plotly)."

AnyRunner = Runner | TimedRunner
Show = Callable[[AnyRunner], AbstractContextManager[Progress]]


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path), default=None, required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("vmem-out"),
    show_default=True,
    help="Directory for summary.json, timeline.csv, host.csv and report.html.",
)
@json_option
@click.option("--check", is_flag=True, help="Check the scenario, boot its VMs and stop.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many references of each process.")
@click.option("--live", is_flag=True, help="Show the host in the terminal while it runs.")
@click.option("--parquet", is_flag=True, help="Write the tables as .parquet too.")
@click.option(
    "--trace-events",
    "trace_file",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=check_parent,
    help="Write what happened to this file too, for Perfetto or Chrome.",
)
@plain_errors
def run(
    scenario: Path | None,
    out: Path,
    json_file: Path | None,
    check: bool,
    limit: int | None,
    live: bool,
    parquet: bool,
    trace_file: Path | None,
) -> None:
    """Run a SCENARIO: virtual machines on a host. Without one the built-in scenario runs.

    Prints what each VM's accesses met and cost, and writes summary.json, timeline.csv, host.csv and
    report.html.
    """
    loaded = Scenario.load(scenario or BUILT_IN)
    if limit is not None:
        loaded = replace(loaded, run=msgspec.structs.replace(loaded.run, limit=limit))
    if check:
        _print_check(scenario, _runner(loaded))
        return
    check_directory(out)
    if parquet:
        pyarrow()
    result, files = _simulate(loaded, out, _show_live if live else _show_bar, parquet)
    write_json(json_file, result.summary)
    if trace_file is not None:
        with atomic_output(trace_file) as output:
            output.write(trace_events(result))
    print_run(view(result), Console(highlight=False))
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if "report.html" not in files:
        click.echo(NO_PLOTLY)
    click.echo(f"Wrote {', '.join(files)} to {out}")


def _show_bar(runner: AnyRunner) -> AbstractContextManager[Progress]:
    """A progress bar on standard error."""
    return LateBar("running", unit="references" if isinstance(runner, Runner) else "time", patience=0.5)


def _show_live(runner: AnyRunner) -> AbstractContextManager[Progress]:
    """The host itself on standard output, if that is a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        click.echo("Note: --live shows nothing: standard output is not a terminal.", err=True)
        return _show_bar(runner)
    return LiveView(runner, f"running {runner.scenario.name}", console)


def _simulate(scenario: Scenario, out: Path, show: Show, parquet: bool) -> tuple[Result, list[str]]:
    """Runs it and writes its files, all or none."""
    done, total = 0, 0
    try:
        runner = _runner(scenario)
        with show(runner) as shown:

            def progress(made: int, of: int) -> None:
                nonlocal done, total
                done, total = made, of
                shown(made, of)

            result = runner.run(progress)
        files = _files(result, parquet)
        write_together(out, files)
    except KeyboardInterrupt:
        raise Interrupted(f"{_how_far(scenario, done, total)}nothing was written.") from None
    return result, list(files)


def _how_far(scenario: Scenario, done: int, total: int) -> str:
    """Such as "after 2 s of 10 s; "."""
    if not total:
        return ""
    if scenario.run.duration is not None:
        return f"after {format_duration(done)} of {format_duration(total)}; "
    return f"after {short_count(done)} of {short_count(total)} references; "


def _files(result: Result, parquet: bool) -> dict[str, bytes]:
    tables: dict[str, tuple[type[msgspec.Struct], Sequence[msgspec.Struct]]] = {
        "timeline": (Row, result.timeline),
        "host": (HostRow, result.host),
    }
    if result.scenario.policy is not None:
        tables["policy"] = (PolicyRow, result.policy)
    files = {
        "summary.json": json_bytes(result.summary),
        **{f"{name}.csv": to_csv(kind, rows) for name, (kind, rows) in tables.items()},
    }
    if parquet:
        files |= {f"{name}.parquet": to_parquet(kind, rows) for name, (kind, rows) in tables.items()}
    try:
        from vmem.report.page import report_html
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "plotly":
            raise
        return files
    return {**files, "report.html": report_html(result).encode()}


def _runner(scenario: Scenario) -> AnyRunner:
    if scenario.run.duration is not None:
        return TimedRunner(scenario)
    for trace in scenario.traces.values():
        with LateBar(f"reading {trace.name}") as bar:
            trace.totals(bar)
    return Runner(scenario)


def _print_check(path: Path | None, runner: AnyRunner) -> None:
    scenario = runner.scenario
    processes = sum(len(vm.process) * vm.count for vm in scenario.vms)
    name = str(path) if path else "the built-in scenario"
    click.echo(f"{name}: good; {scenario.machines} VMs, {processes} processes, {runner.extent}")
