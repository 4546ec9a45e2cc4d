"""Durations: ints in nanoseconds, or strings such as "150ms"."""

from __future__ import annotations

import re
from decimal import Decimal

from vmem.checks import WORD, is_int
from vmem.errors import ConfigError

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]+)\s*")

Duration = int | str


def parse_duration(value: Duration, what: str = "duration") -> int:
    """Nanoseconds. Accepts a non-negative int, or a string: a number and ns, us, ms, s, min or h.

    Raises ConfigError naming `what`.
    """
    if is_int(value):
        return _fitting(int(value), value, what)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _UNITS:
        raise ConfigError(
            f"{what}: {value!r} is not a duration; "
            "accepted are nanoseconds as int, or a number with ns, us, ms, s, min or h, such as '150ms'"
        )
    scaled = Decimal(match[1]) * _UNITS[match[2]]
    if scaled != int(scaled):
        raise ConfigError(f"{what}: {value!r} is not a whole number of nanoseconds")
    return _fitting(int(scaled), value, what)


def _fitting(count: int, given: Duration, what: str) -> int:
    if not 0 <= count < WORD - 1:
        raise ConfigError(f"{what}: {given!r}; accepted are durations from 0 to 2**64 - 2 nanoseconds")
    return count


def format_duration(nanoseconds: float) -> str:
    """In the largest unit that keeps it at 1 or more, such as "1.5 ms"."""
    for unit, scale in (("h", 3600e9), ("min", 60e9), ("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(nanoseconds) >= scale:
            return f"{nanoseconds / scale:.3g} {unit}"
    return f"{nanoseconds:.0f} ns"
