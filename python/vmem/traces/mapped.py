"""Which pages a recorded program has mapped, to find those that were there before it began."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from vmem.traces.model import MapEvent, Region

_PAGE = 4096


class MappedRanges:
    """The address ranges mapped by events so far, as sorted disjoint half-open intervals."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._heap_end = 0

    def apply(self, event: MapEvent) -> None:
        end = event.start + event.length
        if event.kind in ("mmap", "brk"):
            self._remove(event.start, max(end, self._heap_end) if event.kind == "brk" else end)
            self._add(event.start, end)
        elif event.kind == "munmap":
            self._remove(event.start, end)
        if event.kind == "brk":
            self._heap_end = end

    def missing(self, pages: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Those of `pages` that no event has mapped."""
        if not self._starts:
            return pages
        starts, ends = np.array(self._starts, np.uint64), np.array(self._ends, np.uint64)
        index = np.searchsorted(starts, pages, side="right")
        inside: npt.NDArray[np.bool_] = (index > 0) & (pages < ends[np.maximum(index, 1) - 1])
        return pages[~inside]

    def _add(self, start: int, end: int) -> None:
        if start < end:
            at = bisect_left(self._starts, start)
            self._starts.insert(at, start)
            self._ends.insert(at, end)

    def _remove(self, start: int, end: int) -> None:
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if first >= last:
            return
        left, right = self._starts[first], self._ends[last - 1]
        del self._starts[first:last], self._ends[first:last]
        self._add(left, min(right, start))
        self._add(max(left, end), right)


def initial_mappings(pages: Iterable[int], regions: list[Region], bridge: int) -> list[MapEvent]:
    """The mmap calls that give `pages` the rights that `regions` say; gaps of at most `bridge` bytes between
    alike pages are mapped too.
    """
    starts = [start for start, _, _ in regions]
    events: list[MapEvent] = []
    for page in sorted(pages):
        prot = regions[bisect_right(starts, page) - 1][2]
        last = events[-1] if events else None
        if last is not None and last.prot == prot and page - (last.start + last.length) <= bridge:
            events[-1] = MapEvent("mmap", last.start, page + _PAGE - last.start, prot, last.name)
        else:
            events.append(MapEvent("mmap", page, _PAGE, prot, "[initial]"))
    return events
