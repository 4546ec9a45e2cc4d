"""Demand curves: how much memory a program has allocated, and how much of it is active, over time."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from vmem.decode import Place
from vmem.durations import parse_duration
from vmem.errors import ConfigError
from vmem.sizes import parse_size

Curve = tuple[tuple[int, int, int], ...]
"""Rows of nanoseconds, bytes allocated, bytes active. Each holds until the next."""

COLUMNS = ("time", "allocated", "active")
_PAGE = 4096


def decode_curve(value: object, at: Place) -> Curve:
    """A curve from a CSV file with a head line, relative to the document, or from rows.

    Times are durations from the program's start, sizes as everywhere; they are rounded up to pages.
    ConfigError says which row, what was wrong and what is accepted.
    """
    if isinstance(value, str):
        rows = _read(at.base / value, at)
    elif isinstance(value, list | tuple):
        rows = [(at.index(i), row) for i, row in enumerate(value)]
    else:
        at.reject(value, "the name of a CSV file, or rows of time, allocated, active")
    points: list[tuple[int, int, int]] = []
    for where, row in rows:
        points.append(_point(row, where))
        if len(points) == 1 and points[0][0] != 0:
            where.reject(row, "a first row at time 0")
        if len(points) > 1 and points[-1][0] <= points[-2][0]:
            where.reject(row, "a time after that of the row before")
    if not points:
        at.reject(value, "at least one row")
    return tuple(points)


def _read(path: Path, at: Place) -> list[tuple[Place, object]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{at}: {str(path)!r}: {reason}; accepted is a CSV file") from None
    lines = csv.reader(io.StringIO(text))
    head = next(lines, [])
    if tuple(name.strip() for name in head) != COLUMNS:
        raise ConfigError(f"{path}: head line {','.join(head)!r}; accepted is {','.join(COLUMNS)!r}")
    return [(Place(f"{path}, line {lines.line_num}"), row) for row in lines if row]


def _point(row: object, at: Place) -> tuple[int, int, int]:
    if not isinstance(row, list | tuple) or len(row) != len(COLUMNS):
        at.reject(row, "a row of three: time, allocated, active")
    time = parse_duration(_number(row[0]), str(at))
    allocated, active = (-(-parse_size(_number(size), str(at)) // _PAGE) * _PAGE for size in row[1:])
    if active > allocated:
        at.reject(row, "no more active than allocated")
    if allocated > 1 << 46:
        at.reject(row, "at most 64 TiB")
    return time, allocated, active


def _number(value: object) -> int | str:
    """CSV cells are text: digits alone are a number."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value  # type: ignore[return-value]
