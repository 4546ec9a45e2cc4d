"""Runs in stretches of so many references, as they happened in time."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import numpy as np
import numpy.typing as npt

from vmem.traces.model import FETCH, LOAD, RUN_DTYPE, STORE, Runs

_KIND = np.uint64(3)


class PacedRuns:
    """Gives out an item of a trace, some references at a time.

    A run lasts until the next run of its stream (fetches, or data) begins: a loop of a million fetches is one
    run, and beside it happen all the runs of its data. So a stretch has a part of the last run of each
    stream, and the next stretch begins with the rest. By the order of the runs alone, that loop's data would
    come after all of its fetches.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._counts = _lengths(runs)
        self.left = int(self._counts.sum())
        """References not given out."""
        self._given = 0
        self._at = 0
        self._open: list[Runs] = []
        """What is left of runs that have begun: at most one of each stream."""
        self._schedule: _Schedule | None = None

    def take(self, references: int | None) -> Runs:
        """The next `references`, which must be positive; all that are left if fewer, or if None."""
        if references is None or references >= self.left:
            stretch = np.concatenate([*self._open, self._runs[self._at :]]) if self._given else self._runs
            self.left, self._open = 0, []
            return stretch
        if self._schedule is None:
            self._schedule = _Schedule(self._runs, self._counts)
        last = self._last(self._schedule, references)
        stretch = np.concatenate([*self._open, self._runs[self._at : last]])
        self._open = _hold_back(stretch, len(self._open), int(_lengths(stretch).sum()) - references)
        self._at = last
        self._given += references
        self.left -= references
        return stretch[_lengths(stretch) > 0]

    def _last(self, schedule: _Schedule, references: int) -> int:
        """Where the stretch ends: as scheduled, but with enough references, and not too many first ones."""
        held = sum(int(_lengths(run).sum()) for run in self._open)
        begun = {_is_fetch(run)[0]: int(_lengths(run)[0]) for run in self._open}

        def least(last: int) -> int:
            """The fewest references of a stretch to `last`: of a run that goes on beyond it, the first."""
            streams = (schedule.of_stream(stream, self._at, last) for stream in (False, True))
            return sum(begun.get(s, 0) + before + 1 for s, before in enumerate(streams) if before is not None)

        wanted = int(np.searchsorted(schedule.spread, self._given + references))
        fits = bisect_right(range(self._at, len(self._runs) + 1), references, key=least) + self._at - 1
        enough = int(np.searchsorted(schedule.total, references - held + schedule.total[self._at]))
        return max(min(wanted, fits), enough, self._at)


class _Schedule:
    """When the references of an item's runs happen, by places between the runs."""

    def __init__(self, runs: Runs, counts: npt.NDArray[np.int64]) -> None:
        size = len(runs)
        self._fetch = _is_fetch(runs)
        self.total = _sums(counts)
        """References of the runs before each place."""
        self._streams = [_sums(np.where(self._fetch == stream, counts, 0)) for stream in (False, True)]
        self._members = [np.flatnonzero(self._fetch == stream) for stream in (False, True)]
        rate = np.zeros(size + 1)
        for members in self._members:
            if len(members):
                ends = np.append(members[1:], size)
                shares = counts[members] / (ends - members)
                np.add.at(rate, members, shares)
                np.subtract.at(rate, ends, shares)
        self.spread = np.concatenate([[0.0], np.cumsum(np.cumsum(rate[:-1]))])
        """References before each place if every run's are spread evenly over its time."""

    def of_stream(self, stream: bool, first: int, last: int) -> int | None:
        """References of the stream's runs from `first` to `last`, without the last; None if none."""
        members = self._members[stream]
        index = int(np.searchsorted(members, last)) - 1
        if index < 0 or members[index] < first:
            return None
        return int(self._streams[stream][members[index]] - self._streams[stream][first])


def _hold_back(stretch: Runs, continued: int, excess: int) -> list[Runs]:
    """Takes `excess` references out of the last run of each stream, in proportion; returns them as runs.

    The first reference of a run keeps its place, unless it has been made: in the first `continued` runs.
    """
    fetch = _is_fetch(stretch)
    last = sorted(
        int(np.flatnonzero(fetch == stream)[-1]) for stream in (False, True) if (fetch == stream).any()
    )
    room = [int(_lengths(stretch)[i]) - (i >= continued) for i in last]
    parts = [excess * room[0] // max(1, sum(room))] if len(room) == 2 else []
    parts.append(excess - sum(parts))
    return [_cut(stretch, i, part) for i, part in zip(last, parts, strict=True) if part]


def _cut(stretch: Runs, index: int, count: int) -> Runs:
    """Takes `count` references off the end of a run, loads first: a run with stores begins with one."""
    run: Any = stretch[index : index + 1]
    rest = run.copy()
    rest["loads"] = np.minimum(run["loads"], count)
    rest["stores"] = count - rest["loads"]
    run["loads"] -= rest["loads"]
    run["stores"] -= rest["stores"]
    if rest["stores"][0] == 0 and (rest["page"][0] & _KIND) == STORE:
        rest["page"] = (rest["page"] & ~_KIND) | np.uint64(LOAD)
    return np.asarray(rest, RUN_DTYPE)


def _lengths(runs: Runs) -> npt.NDArray[np.int64]:
    return np.asarray(runs["loads"].astype(np.int64) + runs["stores"])


def _is_fetch(runs: Runs) -> npt.NDArray[np.bool_]:
    return np.asarray((runs["page"] & _KIND) == FETCH)


def _sums(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sums of the elements before each place, from 0 to all of them."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
