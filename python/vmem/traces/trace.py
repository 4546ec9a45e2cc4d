"""A memory trace, as everything else in vmem sees one."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from vmem import _core
from vmem.errors import TraceError
from vmem.traces.arrays import ArraysReader
from vmem.traces.formats import open_reader
from vmem.traces.model import (
    FETCH,
    LOAD,
    STORE,
    Item,
    MapEvent,
    Progress,
    Reader,
    References,
    Region,
    Totals,
    count_kinds,
)
from vmem.traces.shipped import shipped
from vmem.traces.vmt import split
from vmem.traces.vmt_writer import BRIDGE


class Trace:
    """References of a program in order, with its mapping calls where they are known. Can be read any number
    of times.

    Reading is streaming: memory does not grow with the length of the trace.
    """

    def __init__(self, reader: Reader, name: str, path: Path | None = None) -> None:
        self._reader = reader
        self._totals: Totals | None = None
        self.name = name
        self.path = path

    @classmethod
    def open(cls, path: str | PathLike[str], *, format: str | None = None) -> Trace:
        """The trace in a file, or the shipped one of that name (`vmem.traces.shipped()`).

        The format is found by content; `format` (a key of `vmem.traces.FORMATS`) forces one. gz, xz and zst
        are decompressed. Raises `TraceError` when the file is missing or is not a trace; what is wrong
        further on is raised while it is read.
        """
        file = Path(path)
        ours = shipped()
        if str(path) in ours and not file.exists():
            file = ours[str(path)]
        if not file.exists():
            raise TraceError(f"no such file; the shipped traces are {', '.join(ours)}", path=file)
        return cls(open_reader(file, format), file.name.split(".")[0], file)

    @classmethod
    def from_arrays(cls, addresses: Any, kinds: Any, *, name: str = "arrays") -> Trace:
        """A trace of arrays in memory: `addresses` uint64[n], `kinds` uint8[n] (0 load, 1 store, 2 fetch)."""
        return cls(ArraysReader(addresses, kinds), name)

    @property
    def format(self) -> str:
        """The format of the file; "arrays" when there is none."""
        return self._reader.format

    @property
    def compact(self) -> bool:
        """Whether the items are runs, rather than single references."""
        return self._reader.compact

    def items(self, progress: Progress | None = None) -> Iterator[Item]:
        """What the trace holds, in order: arrays of runs (at most 65,536 each) or `References`, and
        each `MapEvent` between them.

        `progress(done, total)` is called now and then with the bytes of the file. Raises `TraceError`.
        """
        return self._reader.items(progress)

    def __iter__(self) -> Iterator[Item]:
        return self.items()

    def compacted(self) -> Trace:
        """The same trace with its references as runs; itself if it is compact."""
        if self.compact:
            return self
        return Trace(_Compacting(self._reader), self.name, self.path)

    def totals(self, progress: Progress | None = None) -> Totals:
        """Counts over the whole trace. A compact file states them; any other is read through, once."""
        if self._totals is None:
            self._totals = self._reader.totals() or _count(self._reader, progress)
        return self._totals

    @property
    def references(self) -> int:
        """Loads, stores and fetches."""
        return self.totals().references

    def pages(self) -> int:
        """How many different 4 KiB pages are referenced."""
        return self.totals().pages

    def regions(self) -> list[Region]:
        """Ascending (start, length, prot) that cover every page referenced: what to map to replay a trace
        without mapping calls.

        prot is "r", "rw", "rx" or "rwx", as the references need. Untouched gaps up to 1 MiB between pages of
        one sort are included.
        """
        return list(self.totals().regions)

    def has_events(self) -> bool:
        """Whether the trace says itself what is mapped when; a compact file knows, no other format holds
        mapping calls.
        """
        return self.compact and self.totals().events > 0

    def details(self) -> dict[str, str]:
        """What the file says of itself, for people."""
        return self._reader.details()

    def __repr__(self) -> str:
        return f"<vmem.Trace {self.name!r}: {self.format}, {self.path or 'in memory'}>"


class _Compacting:
    """The runs of another reader's references."""

    compact = True

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.format = reader.format

    def items(self, progress: Progress | None) -> Iterator[Item]:
        compactor = _core.TraceCompactor()
        for item in self._reader.items(progress):
            if isinstance(item, References):
                yield from split(compactor.feed(item.addresses, item.kinds))
            else:
                yield from split(compactor.finish())
                yield item
        yield from split(compactor.finish())

    def totals(self) -> Totals | None:
        return None

    def details(self) -> dict[str, str]:
        return self._reader.details()


def _count(reader: Reader, progress: Progress | None) -> Totals:
    touched = _core.TouchedPages()
    kinds = np.zeros(3, np.int64)
    runs = events = 0
    for item in reader.items(progress):
        if isinstance(item, References):
            touched.add_references(item.addresses, item.kinds)
            kinds += np.bincount(item.kinds, minlength=3)
        elif isinstance(item, MapEvent):
            events += 1
        else:
            touched.add_runs(np.ascontiguousarray(item))
            kinds += count_kinds(item)
            runs += len(item)
    return Totals(
        loads=int(kinds[LOAD]),
        stores=int(kinds[STORE]),
        fetches=int(kinds[FETCH]),
        runs=runs,
        events=events,
        pages=touched.count,
        regions=tuple(touched.regions(BRIDGE)),
    )
