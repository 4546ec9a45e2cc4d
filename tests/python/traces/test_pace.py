"""Runs given out in stretches: the same references, each run's first one in its place, spread over time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmem.traces import RUN_DTYPE
from vmem.traces.pace import PacedRuns

LOAD, STORE, FETCH = 0, 1, 2


def _runs(*rows: tuple[int, int, int, int]) -> np.ndarray:
    """Runs of (page number, kind, loads, stores)."""
    return np.array([(page << 12 | kind, loads, stores) for page, kind, loads, stores in rows], RUN_DTYPE)


def _stretches(runs: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    paced, parts = PacedRuns(runs), []
    for size in sizes:
        if not paced.left:
            break
        parts.append(paced.take(size))
    if paced.left:
        parts.append(paced.take(None))
    assert paced.left == 0
    return parts


def _length(runs: np.ndarray) -> int:
    return int(runs["loads"].sum(dtype=np.int64) + runs["stores"].sum(dtype=np.int64))


@st.composite
def some_runs(draw: st.DrawFn) -> np.ndarray:
    rows = []
    for number in range(draw(st.integers(1, 30))):
        kind = draw(st.sampled_from([LOAD, STORE, FETCH]))
        stores = draw(st.integers(1, 40)) if kind == STORE else 0
        loads = draw(st.integers(0 if kind == STORE else 1, draw(st.sampled_from([1, 3, 2000]))))
        rows.append((number, kind, loads, stores))
    return _runs(*rows)


@given(some_runs(), st.lists(st.integers(1, 500), max_size=60))
def test_stretches_are_the_runs(runs: np.ndarray, sizes: list[int]) -> None:
    parts = _stretches(runs, sizes)
    assert [_length(part) for part in parts[: len(sizes)]] == [
        min(size, _length(runs) - sum(sizes[:i])) for i, size in enumerate(sizes[: len(parts)])
    ]
    joined = np.concatenate(parts)
    # Every piece is well-formed: not empty, and with stores only if it begins with one.
    assert np.all(joined["loads"].astype(int) + joined["stores"] > 0)
    assert np.all((joined["stores"] > 0) == (joined["page"] & 3 == STORE))
    # The first piece of each run keeps the run's place and kind; together the pieces are the run.
    numbers = joined["page"] >> 12
    first = np.unique(numbers, return_index=True)[1]
    assert np.all(np.diff(first) > 0)
    assert np.array_equal(joined["page"][first], runs["page"])
    for run in runs:
        pieces = joined[numbers == run["page"] >> 12]
        assert (pieces["loads"].sum(), pieces["stores"].sum()) == (run["loads"], run["stores"])
        # Loads come last: a piece that begins with loads is not followed by one with stores.
        kinds = (pieces["page"] & 3).tolist()
        assert kinds == sorted(kinds, reverse=kinds[0] == STORE)
    # Nothing of a run is made after the next run of its stream has begun.
    for stream in (joined["page"] & 3 == FETCH, joined["page"] & 3 != FETCH):
        assert np.all(np.diff(numbers[stream].astype(int)) >= 0)


def test_a_loops_data_is_spread_over_its_fetches() -> None:
    """One page of code, a hundred of data: each tenth of the references has a tenth of the data."""
    runs = _runs((1, FETCH, 9000, 0), *((100 + i, LOAD, 10, 0) for i in range(100)))
    for part in _stretches(runs, [1000] * 10):
        data = part[part["page"] & 3 == LOAD]
        assert _length(data) == pytest.approx(100, abs=11)
        assert _length(part) == 1000


def test_a_long_stay_on_one_data_page_is_spread_over_its_code() -> None:
    runs = _runs((1, STORE, 5000, 5000), *((100 + i, FETCH, 10, 0) for i in range(100)))
    parts = _stretches(runs, [1100] * 10)
    assert [_length(part[part["page"] & 3 == FETCH]) for part in parts] == pytest.approx([100] * 10, abs=11)
    # Its stores come before its loads.
    assert [int(part["stores"].sum()) for part in parts[6:]] == [0] * 4


def test_all_at_once_is_not_copied() -> None:
    runs = _runs((1, FETCH, 5, 0), (2, STORE, 1, 2))
    assert PacedRuns(runs).take(8) is runs
    assert PacedRuns(runs).take(None) is runs
    assert PacedRuns(runs).take(100) is runs
