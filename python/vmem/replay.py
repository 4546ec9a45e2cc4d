"""Running a trace in a process: mapping what it touches, then its references and system calls in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vmem.errors import ConfigError
from vmem.guest import Mapping, Process, Progress
from vmem.sizes import parse_largest
from vmem.summary import Summary, from_core
from vmem.traces import MapEvent, References, Runs, Trace
from vmem.traces.pace import PacedRuns

if TYPE_CHECKING:
    Arrays = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]

_PACE = 0.05
"""Seconds between two reports of progress."""


def as_trace(trace: Trace | Arrays) -> Trace:
    """A trace as it is, or one of a pair of arrays."""
    if isinstance(trace, Trace):
        return trace
    if isinstance(trace, tuple) and len(trace) == 2:
        return Trace.from_arrays(*trace)
    raise ConfigError(
        f"trace: {type(trace).__name__}; accepted are a vmem.Trace or a pair of arrays (addresses, kinds)"
    )


def load(process: Process, trace: Trace | Arrays, *, page: str = "4KiB") -> list[Mapping]:
    """Maps the gaps: every region the trace touches that no area covers yet. See `Process.load`."""
    opened = as_trace(trace)
    parse_largest(page, "page")
    areas = process.mappings()
    return [
        process.mmap(stop - start, prot=prot, at=start, page=page, name=opened.name)
        for first, length, prot in opened.regions()
        for start, stop in _gaps(areas, first, first + length)
    ]


def _gaps(areas: list[Mapping], first: int, last: int) -> list[tuple[int, int]]:
    """The parts of [first, last) that no area covers; `areas` are ascending."""
    gaps = []
    for area in areas:
        if area.end > first and area.start < last:
            if area.start > first:
                gaps.append((first, area.start))
            first = area.end
    return [*gaps, (first, last)] if first < last else gaps


class _Calls:
    """Turns recorded mapping calls into system calls of a process."""

    def __init__(self, process: Process, page: str) -> None:
        self._process = process
        self._page = page
        self._heap_end: dict[int, int] = {}

    def make(self, event: MapEvent) -> None:
        """Makes the call. What it maps may be mapped already, by `load`, but has not been touched then."""
        prot = "-" if event.prot == "none" else event.prot
        if event.kind == "munmap":
            self._process.munmap(event.start, event.length)
        elif event.kind == "mmap":
            self._replace(event.start, event.length, prot, event.name)
        elif event.kind == "mprotect":
            # Of what was mapped before the recording began, a trace knows only the pages that were touched.
            # The call succeeded, so all of its range was mapped.
            for start, stop in _gaps(self._process.mappings(), event.start, event.start + event.length):
                self._process.mmap(stop - start, prot=prot, at=start, page=self._page, name=event.name)
            self._process.mprotect(event.start, prot, event.length)
        else:
            end = event.start + event.length
            old = self._heap_end.get(event.start, event.start)
            if end > old:
                self._replace(old, end - old, prot, "heap")
            elif end < old:
                self._process.munmap(end, old - end)
            self._heap_end[event.start] = end

    def _replace(self, start: int, length: int, prot: str, name: str) -> None:
        self._process.munmap(start, length)
        self._process.mmap(length, prot=prot, at=start, page=self._page, name=name)


class Replay:
    """A trace that a process is replaying, some references at a time.

    `limit` bounds the references of the whole replay; `page` is the largest page of what its mapping events
    map. Between steps the process may be used, and others may run. After an exception (Ctrl-C, a damaged
    trace) the replay is over; the process is usable.
    """

    def __init__(
        self, process: Process, trace: Trace | Arrays, limit: int | None = None, *, page: str = "4KiB"
    ) -> None:
        _check_count(limit, "limit")
        parse_largest(page, "page")
        self._process = process
        self._items = as_trace(trace).items()
        self._calls = _Calls(process, page)
        self._rest: PacedRuns | _Single = _Single(References(np.empty(0, np.uint64), np.empty(0, np.uint8)))
        self._limit = limit
        self.total = Summary()
        """Of all steps so far."""
        self.done = limit == 0
        """Whether nothing is left: the trace ended, or the limit is reached, or the process was killed."""

    def step(self, references: int | None = None, *, progress: Progress = None) -> Summary | None:
        """Makes the next `references` (fewer where the trace ends, all if None) and the calls after them.

        None if nothing was left. `progress(done)` counts from the start of the replay.
        """
        _check_count(references, "references", least=1)
        if self.done:
            return None
        wanted = _least(references, None if self._limit is None else self._limit - self.total.references)
        self.done = True  # stays so if anything below raises
        stretch = Summary()
        report = None if progress is None else _Paced(progress)
        while self._rest.left or self._next():
            if report is not None:
                report.base = self.total.references + stretch.references
                report(0)
            left = None if wanted is None else wanted - stretch.references
            stretch.add(self._run(self._rest.take(left), report))
            if stretch.killed or stretch.references == wanted:
                break
        self.total.add(stretch)
        if not (stretch.killed or self.total.references == self._limit):
            self.done = not (self._rest.left or self._next())
        return stretch

    def _next(self) -> bool:
        """Takes the next references, making the mapping calls before them; False at the end of the trace."""
        for item in self._items:
            if not isinstance(item, MapEvent):
                self._rest = _Single(item) if isinstance(item, References) else PacedRuns(item)
                return True
            self._calls.make(item)
        return False

    def _run(self, part: Runs | References, report: Progress) -> Summary:
        core, where = self._process._core, self._process._where
        if isinstance(part, References):
            return from_core(core.access(*where, part.addresses, part.kinds, report))
        return from_core(core.replay(*where, part, report))


class _Paced:
    """Reports `base` and what came on top of it, some times a second.

    The core does it within a call, but most calls are too short for that.
    """

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._next = time.monotonic() + _PACE
        self.base = 0

    def __call__(self, done: int) -> None:
        if time.monotonic() >= self._next:
            self._progress(self.base + done)
            self._next = time.monotonic() + _PACE


def run(
    process: Process,
    trace: Trace | Arrays,
    limit: int | None = None,
    *,
    page: str = "4KiB",
    progress: Progress = None,
) -> Summary:
    """See `Process.run`."""
    replay = Replay(process, trace, limit, page=page)
    replay.step(progress=progress)
    return replay.total


def _check_count(count: int | None, what: str, *, least: int = 0) -> None:
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < least):
        raise ConfigError(f"{what}: {count!r}; accepted is a number of references from {least}, or None")


def _least(*counts: int | None) -> int | None:
    return min((count for count in counts if count is not None), default=None)


class _Single:
    """Gives out references that are one by one, some at a time: as `PacedRuns` does with runs."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._references.kinds) - self._at

    def take(self, references: int | None) -> References:
        part = slice(self._at, None if references is None else self._at + references)
        stretch = References(self._references.addresses[part], self._references.kinds[part])
        self._at += len(stretch.kinds)
        return stretch
