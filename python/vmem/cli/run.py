"""`vmem run`: a scenario, its tables and its files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from vmem.cli.elf import NAMES, Wanted, elf_options, run_elf
from vmem.cli.tables import print_run
from vmem.durations import format_duration
from vmem.output import check_directory, write_together
from vmem.report.numbers import short_count
from vmem.report.view import view
from vmem.rows import HOST_TIMELINE, TIMELINE
from vmem.runner import Result, Runner
from vmem.scenario import BUILT_IN, Scenario
from vmem.timed import TimedRunner

NO_PLOTLY = "No report.html: it needs plotly, which is not installed (pip install plotly)."


_ONLY_SCENARIOS = ("out", "check")


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
    _run_scenario(Path(words[0]) if words else None, out, json_file, check, limit)


def _refuse(context: click.Context, names: Sequence[str], program: Path | None) -> None:
    """Options that would be ignored."""
    for name in names:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} goes {'with' if program is None else 'without'} --elf")


def _run_scenario(
    scenario: Path | None, out: Path, json_file: Path | None, check: bool, limit: int | None
) -> None:
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
        from vmem.policies.controller import PolicyRow

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
