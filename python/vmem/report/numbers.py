"""Numbers for people: three digits and a unit."""

from __future__ import annotations


def short_count(count: float) -> str:
    """At most 6 characters: 987, 12.3k, 4.56M, 123M, 7.89G."""
    for limit, unit in ((1e3, ""), (1e6, "k"), (1e9, "M"), (1e12, "G"), (1e15, "T")):
        # What rounds up to 1000 belongs to the next unit.
        if abs(count) < limit * 0.9995 or unit == "T":
            scaled = count / (limit / 1e3)
            digits = 0 if unit == "" or abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
            return f"{scaled:.{digits}f}{unit}"
    raise AssertionError(count)


def short_size(size: int) -> str:
    """Three digits of bytes: 12.0 KiB, 3.57 MiB, 232 MiB."""
    scaled, units = float(size), ["TiB", "GiB", "MiB", "KiB", "B"]
    while scaled >= 999.5 and len(units) > 1:
        scaled /= 1024
        units.pop()
    digits = 0 if units[-1] == "B" or scaled >= 99.95 else 1 if scaled >= 9.995 else 2
    return f"{scaled:.{digits}f} {units[-1]}"
