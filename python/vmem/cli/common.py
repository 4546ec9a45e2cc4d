"""What the commands share: errors as one line, Ctrl-C, progress bars, --json."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Literal, ParamSpec, Self, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vmem.durations import format_duration
from vmem.errors import VmemError
from vmem.output import atomic_output
from vmem.report.numbers import short_count

P = ParamSpec("P")
R = TypeVar("R")

Unit = Literal["bytes", "references", "runs", "time", "ways"]


def check_parent(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """What takes minutes to compute should not fail at its end for the name of a directory."""
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"{str(path.parent)!r}: no such directory")
    return path


json_option = click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=check_parent,
    help="Write the numbers to this file too.",
)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what a command has to say about it."""


def plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """vmem's errors, and the system's about files, as one line on standard error; exit status 1."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except VmemError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            if error.filename is None:  # a broken pipe, say: click knows what to do
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}") from None

    return wrapped


def json_bytes(numbers: Mapping[str, object]) -> bytes:
    """Readable JSON; keys in their order, so equal numbers are equal bytes."""
    return msgspec.json.format(msgspec.json.encode(numbers)) + b"\n"


def write_json(path: Path | None, numbers: Mapping[str, object]) -> None:
    """What `--json` asks for."""
    if path is not None:
        with atomic_output(path) as output:
            output.write(json_bytes(numbers))


class _ReferencesColumn(ProgressColumn):
    """ "12.3M of 90.0M references" """

    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else short_count(task.total)
        return Text(f"{short_count(task.completed)} of {total} references")


class _TimeColumn(ProgressColumn):
    """ "12.3 s of 1 min" of simulated time"""

    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else format_duration(task.total)
        return Text(f"{format_duration(task.completed)} of {total} simulated")


class _RunsColumn(ProgressColumn):
    """ "12 of 64 runs" """

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:.0f} of {'?' if task.total is None else f'{task.total:.0f}'} runs")


_COUNTS: dict[Unit, type[ProgressColumn]] = {
    "bytes": DownloadColumn,
    "references": _ReferencesColumn,
    "runs": _RunsColumn,
    "time": _TimeColumn,
    "ways": MofNCompleteColumn,
}


class LateBar:
    """A progress bar on standard error for what takes over `patience` seconds; a callback for `progress=`.

    Nothing is shown where standard error is not a terminal.
    """

    def __init__(self, what: str, *, unit: Unit = "bytes", patience: float = 2.0) -> None:
        counts = _COUNTS[unit]()
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), counts, TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(what, total=None)
        self._appears = time.monotonic() + patience
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        if not self._shown:
            if time.monotonic() < self._appears:
                return
            self._progress.start()
            self._shown = True
        self._progress.update(self._task, completed=done, total=total)
