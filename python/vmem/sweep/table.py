"""The results of a sweep as one tidy table: a row for each run, a column for each key and each number."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from vmem.columns import columns_to_parquet
from vmem.sweep.answers import MEANING
from vmem.sweep.grid import Settings
from vmem.sweep.point import Outcome

_PREFIX = "grid_"


def columns(grid: Sequence[Settings]) -> list[str]:
    """Keys of the grid first; one that is a number's name too gets "grid_" before it."""
    keys = list(dict.fromkeys(key for settings in grid for key in settings))
    return [*(_column(key) for key in keys), *MEANING, "error"]


def rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """By column; None where there is nothing."""
    return [
        {
            **{_column(key): value for key, value in outcome.settings.items()},
            **{name: outcome.numbers.get(name) for name in MEANING},
            "error": outcome.error,
        }
        for outcome in outcomes
    ]


def to_csv(outcomes: Sequence[Outcome]) -> bytes:
    """Empty cells for None. Equal sweeps give equal bytes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns([outcome.settings for outcome in outcomes]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(outcomes))
    return text.getvalue().encode()


def to_parquet(outcomes: Sequence[Outcome]) -> bytes:
    """ConfigError without pyarrow."""
    table = rows(outcomes)
    names = columns([outcome.settings for outcome in outcomes])
    return columns_to_parquet({name: [row.get(name) for row in table] for name in names})


def _column(key: str) -> str:
    return _PREFIX + key if key in MEANING or key == "error" else key
