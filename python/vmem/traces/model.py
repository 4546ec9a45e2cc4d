"""What a trace is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

LOAD, STORE, FETCH = 0, 1, 2

RUN_DTYPE = np.dtype([("page", "<u8"), ("loads", "<u4"), ("stores", "<u4")])
"""One run: consecutive references of one stream (fetches, or data) to one 4 KiB page; 16 bytes.

`page` is the page's address, with the kind of the run's first reference (0 load, 1 store, 2 fetch) in bits
1:0. `loads` counts loads, or the fetches of a fetch run. `stores` is 0 unless the run began with a store: a
data run that began with loads ends at its first store. Runs are in the order of their first references.
"""

Runs: TypeAlias = np.ndarray[tuple[int], np.dtype[Any]]
"""A one-dimensional array of `RUN_DTYPE`."""

MAX_ITEM = 65_536
"""No item of a trace holds more runs than this."""

MapKind: TypeAlias = Literal["mmap", "munmap", "mprotect", "brk"]
Region: TypeAlias = tuple[int, int, str]
"""(start, length, prot) of a range of pages, in bytes."""
Progress: TypeAlias = Callable[[int, int], object]
"""Called with (bytes of the file done, bytes of the file)."""


class MapEvent(msgspec.Struct, frozen=True, array_like=True):
    """A mapping call of the recorded program, at its place between the references.

    `start` and `length` are bytes, whole pages. `prot` is "none", "r", "rw", "rx", "rwx" or "w…"; it is ""
    for munmap. `mmap` replaces whatever was mapped in its range. `brk` gives the whole heap as it is now:
    `start` stays, `length` changes.
    """

    kind: MapKind
    start: int
    length: int
    prot: str = ""
    name: str = ""


class References(NamedTuple):
    """References one by one: `addresses` uint64[n], `kinds` uint8[n] (0 load, 1 store, 2 fetch)."""

    addresses: npt.NDArray[np.uint64]
    kinds: npt.NDArray[np.uint8]


Item: TypeAlias = Runs | References | MapEvent


def count_kinds(runs: Runs) -> npt.NDArray[np.int64]:
    """[loads, stores, fetches] of the runs."""
    is_fetch = (runs["page"] & 3) == FETCH
    loads = int(runs["loads"].sum(dtype=np.uint64))
    fetches = int(runs["loads"][is_fetch].sum(dtype=np.uint64))
    return np.array([loads - fetches, int(runs["stores"].sum(dtype=np.uint64)), fetches], np.int64)


class Totals(msgspec.Struct, frozen=True):
    """Sums over a whole trace. `regions` covers every page touched; `runs` is 0 for a trace of single
    references.
    """

    loads: int = 0
    stores: int = 0
    fetches: int = 0
    runs: int = 0
    events: int = 0
    pages: int = 0
    regions: tuple[Region, ...] = ()

    @property
    def references(self) -> int:
        return self.loads + self.stores + self.fetches


class Reader(Protocol):
    """Reads one trace from its start, as often as asked."""

    format: str
    """One of `vmem.traces.FORMATS`, or "arrays"."""
    compact: bool
    """Whether items are runs, not single references."""

    def items(self, progress: Progress | None) -> Iterator[Item]: ...

    def totals(self) -> Totals | None:
        """The totals if they are known without reading the trace through."""
        ...

    def details(self) -> dict[str, str]:
        """What else is known of the trace, for people: compression, recorded command, …"""
        ...
