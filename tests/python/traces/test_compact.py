"""Runs carry everything that a TLB can see."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vmem import _core
from vmem.traces import RUN_DTYPE, References, Trace

L, S, F = 0, 1, 2
ReadRuns = Callable[[Trace], np.ndarray]


class Level:
    """A set-associative array of (page → dirty), LRU or FIFO."""

    def __init__(self, sets: int, ways: int, lru: bool) -> None:
        self.sets = [OrderedDict[int, bool]() for _ in range(sets)]
        self.ways, self.lru = ways, lru

    def find(self, page: int) -> bool:
        entries = self.sets[page % len(self.sets)]
        if page not in entries:
            return False
        if self.lru:
            entries.move_to_end(page)
        return True

    def dirty(self, page: int) -> bool:
        return self.sets[page % len(self.sets)][page]

    def clean_to_dirty(self, page: int) -> None:
        entries = self.sets[page % len(self.sets)]
        if page in entries:
            entries[page] = True

    def fill(self, page: int, dirty: bool) -> None:
        entries = self.sets[page % len(self.sets)]
        if page not in entries and len(entries) == self.ways:
            entries.popitem(last=False)
        entries[page] = dirty


class Tlbs:
    """Split first level, shared second, dirty flags: slow and obvious."""

    def __init__(self, sets: int, ways: int, lru: bool) -> None:
        self.l1 = {F: Level(sets, ways, lru), L: Level(sets, ways, lru)}
        self.l2 = Level(2 * sets, ways + 1, lru)
        self.stored: set[int] = set()
        self.counters = dict.fromkeys(["l1i_hits", "l1d_hits", "l2_hits", "misses", "dirty_assists"], 0)

    def access(self, page: int, kind: int) -> None:
        l1 = self.l1[F if kind == F else L]
        if l1.find(page):
            self.counters["l1i_hits" if kind == F else "l1d_hits"] += 1
        elif self.l2.find(page):
            self.counters["l2_hits"] += 1
            l1.fill(page, self.l2.dirty(page))
        else:
            self.counters["misses"] += 1
            if kind == S:
                self.stored.add(page)
            for level in (l1, self.l2):
                level.fill(page, page in self.stored)
            return
        if kind == S and not l1.dirty(page):
            self.counters["dirty_assists"] += 1
            self.stored.add(page)
            self.l1[L].clean_to_dirty(page)
            self.l2.clean_to_dirty(page)

    def run(self, run: np.void) -> None:
        """Only the first reference is looked up; the others must be hits that change nothing."""
        kind = int(run["page"]) & 3
        self.access(int(run["page"]) >> 12, kind)
        rest = int(run["loads"]) + int(run["stores"]) - 1
        self.counters["l1i_hits" if kind == F else "l1d_hits"] += rest


references = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from([L, L, S, F, F]), st.integers(1, 6)), max_size=150
)


def arrays(steps: list[tuple[int, int, int]]) -> References:
    pages = np.array([page for page, _, count in steps for _ in range(count)], np.uint64)
    kinds = np.array([kind for _, kind, count in steps for _ in range(count)], np.uint8)
    return References(
        pages * np.uint64(4096) + np.arange(len(pages), dtype=np.uint64) % np.uint64(4096), kinds
    )


@given(references, st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]), st.booleans())
def test_every_counter_is_the_same_on_references_and_on_runs(
    steps: list[tuple[int, int, int]], sets: int, ways: int, lru: bool
) -> None:
    single, compact = Tlbs(sets, ways, lru), Tlbs(sets, ways, lru)
    trace = Trace.from_arrays(*arrays(steps))
    for item in trace:
        for address, kind in zip(item.addresses.tolist(), item.kinds.tolist(), strict=True):
            single.access(address >> 12, kind)
    for item in trace.compacted():
        for run in item:
            compact.run(run)
    assert compact.counters == single.counters


@given(references)
def test_runs_are_well_formed_and_complete(steps: list[tuple[int, int, int]]) -> None:
    trace = Trace.from_arrays(*arrays(steps)).compacted()
    runs = np.concatenate([np.empty(0, RUN_DTYPE), *trace])
    kinds = runs["page"] & 3
    assert (runs["page"] & 0xFFC == 0).all()
    assert (runs["stores"][kinds != S] == 0).all()
    assert (runs["loads"][kinds != S] > 0).all()
    assert (runs["stores"][kinds == S] > 0).all()
    expected = np.bincount(arrays(steps).kinds, minlength=3)
    assert runs["loads"][kinds != F].sum() == expected[L]
    assert runs["stores"].sum() == expected[S]
    assert runs["loads"][kinds == F].sum() == expected[F]


def slow_compaction(addresses: list[int], kinds: list[int]) -> Iterator[list[int]]:
    """[page | kind, loads, stores] by the definition, without a window."""
    runs: list[list[int]] = []
    latest: dict[bool, int | None] = {False: None, True: None}
    for address, kind in zip(addresses, kinds, strict=True):
        page, at = address & ~4095, latest[kind == F]
        run = runs[at] if at is not None else None
        if run is None or run[0] & ~4095 != page or (kind == S and run[0] & 3 == L):
            latest[kind == F] = len(runs)
            runs.append([page | kind, 0, 0])
            run = runs[-1]
        run[2 if kind == S else 1] += 1
    return iter(runs)


@given(references, st.lists(st.integers(0, 50), max_size=20))
def test_runs_are_those_of_the_definition_however_the_references_arrive(
    steps: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    addresses, kinds = arrays(steps)
    compactor, found, start = _core.TraceCompactor(), [], 0
    for size in [*cuts, len(kinds)]:
        found.append(compactor.feed(addresses[start : start + size], kinds[start : start + size]))
        start += size
    found.append(compactor.finish())
    assert [list(run) for run in np.concatenate(found).tolist()] == list(
        slow_compaction(addresses.tolist(), kinds.tolist())
    )


@settings(max_examples=5)
@given(st.integers(1, 100_000))
def test_a_long_run_holds_back_a_bounded_number_of_others(batch: int) -> None:
    # One page of code, and data that changes page every time: the fetch run would stay open for ever.
    count = 300_000
    addresses = np.arange(count, dtype=np.uint64) << np.uint64(12)
    kinds = np.zeros(count, np.uint8)
    addresses[::2], kinds[::2] = 0x400000, F
    compactor, found, most_held, fed, out = _core.TraceCompactor(), [], 0, 0, 0
    for start in range(0, count, batch):
        part = slice(start, start + batch)
        found.append(compactor.feed(addresses[part], kinds[part]))
        fed += int((kinds[part] == L).sum())
        out += len(found[-1])
        most_held = max(most_held, fed - out)
    found.append(compactor.finish())
    runs = np.concatenate(found)
    code = runs[(runs["page"] & 3) == F]
    assert most_held <= 65_536
    assert code["loads"].sum() == count // 2
    assert 2 <= len(code) <= 4
    whole = np.concatenate(list(Trace.from_arrays(addresses, kinds).compacted()))
    np.testing.assert_array_equal(runs, whole)


def test_totals_count_references_pages_and_regions() -> None:
    steps = [(0, F, 3), (1, F, 1), (5, L, 2), (6, S, 1), (700, L, 1), (400, S, 2)]
    for trace in (Trace.from_arrays(*arrays(steps)), Trace.from_arrays(*arrays(steps)).compacted()):
        totals = trace.totals()
        assert (totals.loads, totals.stores, totals.fetches) == (3, 3, 4)
        assert trace.references == 10
        assert trace.pages() == 6
        # 6 to 400 is a gap of more than 1 MiB; so is 400 to 700.
        assert trace.regions() == [
            (0, 2 * 4096, "rx"),
            (5 * 4096, 2 * 4096, "rw"),
            (400 * 4096, 4096, "rw"),
            (700 * 4096, 4096, "r"),
        ]
