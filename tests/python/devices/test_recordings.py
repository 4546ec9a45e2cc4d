"""A simulated guest stays as close to the recorded one as bench/recordings.py says it must."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "bench" / "recordings.py"
_SPEC = importlib.util.spec_from_file_location("recordings", SCRIPT)
assert _SPEC is not None and _SPEC.loader is not None
recordings = importlib.util.module_from_spec(_SPEC)
sys.modules["recordings"] = recordings
_SPEC.loader.exec_module(recordings)

PAGE = SCRIPT.parents[1] / "docs" / "reference" / "recordings.md"
RUNS = {"S1a": 6, "S1b": 6, "S2a": 7, "S5a": 8, "S6a": 6, "S7a": 4}


@pytest.fixture(scope="module")
def rows() -> list:  # type: ignore[type-arg]
    return recordings.rows()


@pytest.mark.parametrize("run", RUNS)
def test_every_figure_is_within_its_limit(rows: list, run: str) -> None:  # type: ignore[type-arg]
    found = [row for row in rows if row.run.startswith(run)]
    assert len(found) == RUNS[run]
    assert [row for row in found if not row.holds] == []


def test_residency_may_differ_by_five_percent_of_memory_at_most(rows: list) -> None:  # type: ignore[type-arg]
    assert all(row.within <= 0.05 * 1024 for row in rows if row.unit == "MiB")


def test_the_page_shows_these_figures(rows: list) -> None:  # type: ignore[type-arg]
    assert PAGE.read_text(encoding="utf-8").endswith(recordings.table(rows) + "\n")
