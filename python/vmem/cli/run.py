"""`vmem run`: a scenario, its tables and its files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import msgspec
from rich.console import Console

from vmem.cli.common import (
    Interrupted,
    LateBar,
    Unit,
    json_bytes,
    json_option,
    plain_errors,
    write_json,
)
from vmem.cli.tables import print_run
from vmem.durations import format_duration
from vmem.output import check_directory, write_together
from vmem.policies import PolicyRow
from vmem.report.numbers import short_count
from vmem.report.view import view
from vmem.rows import HOST_TIMELINE, TIMELINE
from vmem.runner import Result, Runner
from vmem.scenario import BUILT_IN, Scenario
from vmem.timed import TimedRunner

NO_PLOTLY = "No report.html: it needs plotly, which is not installed (pip install plotly)."


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
@plain_errors
def run(scenario: Path | None, out: Path, json_file: Path | None, check: bool, limit: int | None) -> None:
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
    result, files = _simulate(loaded, out)
    write_json(json_file, result.summary)
    print_run(view(result), Console(highlight=False))
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if "report.html" not in files:
        click.echo(NO_PLOTLY)
    click.echo(f"Wrote {', '.join(files)} to {out}")


def _simulate(scenario: Scenario, out: Path) -> tuple[Result, list[str]]:
    """Runs it and writes its files, all or none."""
    done, total = 0, 0
    try:
        runner = _runner(scenario)
        unit: Unit = "references" if isinstance(runner, Runner) else "time"
        with LateBar("running", unit=unit, patience=0.5) as bar:

            def progress(made: int, of: int) -> None:
                nonlocal done, total
                done, total = made, of
                bar(made, of)

            result = runner.run(progress)
        files = _files(result)
        write_together(out, files)
    except KeyboardInterrupt:
        timed = scenario.run.duration is not None
        shown = (
            (format_duration(done), format_duration(total))
            if timed
            else (short_count(done), short_count(total))
        )
        made = f"after {shown[0]} of {shown[1]}{'' if timed else ' references'}; " if total else ""
        raise Interrupted(f"{made}nothing was written.") from None
    return result, list(files)


def _files(result: Result) -> dict[str, bytes]:
    files = {
        "summary.json": json_bytes(result.summary),
        "timeline.csv": _csv(TIMELINE, result.timeline),
        "host.csv": _csv(HOST_TIMELINE, result.host),
    }
    if result.scenario.policy is not None:
        files["policy.csv"] = _csv(PolicyRow.__struct_fields__, result.policy)
    try:
        from vmem.report.page import report_html
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "plotly":
            raise
        return files
    return {**files, "report.html": report_html(result).encode()}


def _csv(columns: Sequence[str], rows: Sequence[msgspec.Struct]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(msgspec.to_builtins(rows))
    return text.getvalue().encode()


def _runner(scenario: Scenario) -> Runner | TimedRunner:
    if scenario.run.duration is not None:
        return TimedRunner(scenario)
    for trace in scenario.traces.values():
        with LateBar(f"reading {trace.name}") as bar:
            trace.totals(bar)
    return Runner(scenario)


def _print_check(path: Path | None, runner: Runner | TimedRunner) -> None:
    scenario = runner.scenario
    processes = sum(len(vm.process) * vm.count for vm in scenario.vms)
    name = str(path) if path else "the built-in scenario"
    click.echo(f"{name}: good; {scenario.machines} VMs, {processes} processes, {runner.extent}")
