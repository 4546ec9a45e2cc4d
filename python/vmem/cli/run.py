"""`vmem run`: a scenario, its tables and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from vmem.cli.elf import NAMES, Wanted, elf_options, run_elf
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
from vmem.trace_events import trace_events as to_trace_events

NO_PLOTLY = "No report.html: it needs plotly, which is not installed (pip install plotly)."

AnyRunner = Runner | TimedRunner
Show = Callable[[AnyRunner], AbstractContextManager[Progress]]


_ONLY_SCENARIOS = ("out", "check", "live", "parquet", "trace_events")


@dataclass(frozen=True)
class Wishes:
    """What is wanted of a run besides its summary."""

    out: Path
    json: Path | None
    live: bool
    parquet: bool
    trace_events: Path | None


@click.command()
@click.argument("words", nargs=-1, metavar="[SCENARIO | ARGS...]")
@elf_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("vmem-out"),
    show_default=True,
    help="Directory for summary.json, timeline.csv, host.csv and report.html.",
)
@json_option
@click.option("--check", is_flag=True, help="Check the scenario, boot its VMs and stop.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="At most so many references of each process; with --elf instructions.",
)
@click.option("--live", is_flag=True, help="Show the host in the terminal while it runs.")
@click.option("--parquet", is_flag=True, help="Write the tables as .parquet too.")
@click.option(
    "--trace-events",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=check_parent,
    help="Write what happened to this file too, for Perfetto or Chrome.",
)
@click.pass_context
@plain_errors
def run(
    context: click.Context,
    /,
    words: tuple[str, ...],
    program: Path | None,
    out: Path,
    json_file: Path | None,
    check: bool,
    limit: int | None,
    live: bool,
    parquet: bool,
    trace_events: Path | None,
    **machine: Any,
) -> None:
    """Run a SCENARIO: virtual machines on a host. Without one the built-in scenario runs.

    Prints what each VM's accesses met and cost, and writes summary.json, timeline.csv, host.csv and
    report.html.

    With --elf: run a real x86-64 program with ARGS (`--` before those that begin with a dash) on a machine of
    its own. Its output, its exit status, and the same tables.
    """
    _refuse(context, NAMES if program is None else _ONLY_SCENARIOS, program)
    if program is not None:
        context.exit(run_elf(program, words, Wanted(**machine), limit, json_file))
    if len(words) > 1:
        raise click.UsageError(f"accepted is one SCENARIO, given are {len(words)}")
    scenario = Path(words[0]) if words else None
    loaded = Scenario.load(scenario or BUILT_IN)
    if limit is not None:
        loaded = replace(loaded, run=msgspec.structs.replace(loaded.run, limit=limit))
    if check:
        _print_check(scenario, _runner(loaded))
    else:
        _run_scenario(loaded, Wishes(out, json_file, live, parquet, trace_events))


def _refuse(context: click.Context, names: Sequence[str], program: Path | None) -> None:
    """Options that would be ignored."""
    for name in names:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} goes {'with' if program is None else 'without'} --elf")


def _run_scenario(scenario: Scenario, wishes: Wishes) -> None:
    check_directory(wishes.out)
    if wishes.parquet:
        pyarrow()
    result, files = _simulate(scenario, wishes.out, _show_live if wishes.live else _show_bar, wishes.parquet)
    write_json(wishes.json, result.summary)
    if wishes.trace_events is not None:
        with atomic_output(wishes.trace_events) as output:
            output.write(to_trace_events(result))
    print_run(view(result), Console(highlight=False))
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if "report.html" not in files:
        click.echo(NO_PLOTLY)
    click.echo(f"Wrote {', '.join(files)} to {wishes.out}")


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
