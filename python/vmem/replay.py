"""Running a trace in a process: mapping what it touches, then its references and system calls in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vmem.errors import ConfigError
from vmem.guest import Mapping, Process, Progress
from vmem.summary import Summary, from_core
from vmem.traces import MapEvent, References, Trace

if TYPE_CHECKING:
    Arrays = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]


def _as_trace(trace: Trace | Arrays) -> Trace:
    if isinstance(trace, Trace):
        return trace
    if isinstance(trace, tuple) and len(trace) == 2:
        return Trace.from_arrays(*trace)
    raise ConfigError(f"trace: {type(trace).__name__}; accepted are a vmem.Trace or a pair of arrays (addresses, kinds)")


def load(process: Process, trace: Trace | Arrays, *, page: str = "4KiB") -> list[Mapping]:
    """Maps the gaps: every region the trace touches that no area covers yet. See `Process.load`."""
    opened = _as_trace(trace)
    mapped: list[Mapping] = []
    areas = [(area.start, area.end) for area in process.mappings()]
    for first, length, prot in opened.regions():
        at, last = first, first + length
        for start, end in [*areas, (2**64, 2**64)]:
            if end <= at:
                continue
            stop = min(start, last)
            if stop > at:
                mapped.append(process.mmap(stop - at, prot=prot, at=at, page=page, name=opened.name))
            at = max(at, end)
            if at >= last:
                break
    return mapped


class _Calls:
    """Turns recorded mapping calls into system calls of a process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._heap_end: dict[int, int] = {}

    def make(self, event: MapEvent) -> None:
        """What a call asks for may be there already: `load` maps everything the trace touches. Nothing of it has been touched then."""
        prot = "-" if event.prot == "none" else event.prot
        if event.kind == "munmap":
            self._process.munmap(event.start, event.length)
        elif event.kind == "mmap":
            self._replace(event.start, event.length, prot, event.name)
        elif event.kind == "mprotect":
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
        self._process.mmap(length, prot=prot, at=start, name=name)


def run(process: Process, trace: Trace | Arrays, limit: int | None = None, *, progress: Progress = None) -> Summary:
    """See `Process.run`."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ConfigError(f"limit: {limit!r}; accepted is a non-negative number of references, or None")
    total = Summary()
    calls = _Calls(process)
    for item in _as_trace(trace).items():
        left = None if limit is None else limit - total.references
        if left is not None and left <= 0:
            break
        report = None if progress is None else _offset(progress, total.references)
        if isinstance(item, MapEvent):
            calls.make(item)
        elif isinstance(item, References):
            part = slice(left)
            total.add(from_core(process._core.access(*process._where, item.addresses[part], item.kinds[part], report)))
        else:
            runs = item if left is None else _truncated(item, left)
            total.add(from_core(process._core.replay(*process._where, runs, report)))
        if total.killed:
            break
    return total


def _offset(progress: Any, base: int) -> Any:
    return lambda done: progress(base + done)


def _truncated(runs: npt.NDArray[np.void], limit: int) -> npt.NDArray[np.void]:
    """The first `limit` references of some runs; the last run may be cut."""
    ends = np.cumsum(runs["loads"].astype(np.uint64) + runs["stores"])
    last = int(np.searchsorted(ends, limit))
    if last >= len(runs):
        return runs
    cut = runs[: last + 1].copy()
    excess = int(ends[last]) - limit
    # A run that began with a store keeps that store; loads go first.
    fewer_loads = min(excess, int(cut["loads"][last]))
    cut["loads"][last] -= fewer_loads
    cut["stores"][last] -= excess - fewer_loads
    return cut
