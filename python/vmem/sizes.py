"""Sizes: ints in bytes, or strings such as "512MiB"."""

from __future__ import annotations

import re

from vmem.checks import WORD, is_int
from vmem.errors import ConfigError

_UNITS = {
    "": 1,
    "B": 1,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "TIB": 1 << 40,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")

PAGE_SIZES = {"4KiB": 0, "2MiB": 1, "1GiB": 2}

Size = int | str


def parse_size(value: Size, what: str = "size") -> int:
    """Bytes. Accepts a non-negative int, or a string: a number and B, KiB, MiB, GiB, TiB (or KB … TB, powers
    of ten).

    Raises ConfigError naming `what`.
    """
    if not is_int(value) and not isinstance(value, str):
        raise ConfigError(
            f"{what}: {value!r} is not a size; accepted are bytes as int, or a string such as '512MiB'"
        )
    if isinstance(value, int):
        if value < 0:
            raise ConfigError(f"{what}: {value} is negative; a size is zero or more bytes")
        return _fitting(value, value, what)
    match = _SIZE.fullmatch(value)
    if match is None or match[2].upper() not in _UNITS:
        raise ConfigError(
            f"{what}: {value!r} is not a size; "
            "accepted is a number with B, KiB, MiB, GiB or TiB, such as '512MiB'"
        )
    scaled = (
        float(match[1]) * _UNITS[match[2].upper()]
        if "." in match[1]
        else int(match[1]) * _UNITS[match[2].upper()]
    )
    if scaled != int(scaled):
        raise ConfigError(f"{what}: {value!r} is not a whole number of bytes")
    return _fitting(int(scaled), value, what)


def _fitting(count: int, given: Size, what: str) -> int:
    if count >= WORD:
        raise ConfigError(f"{what}: {given!r} is too much; accepted is less than 2**64 bytes")
    return count


def parse_page_size(value: str, what: str = "page size") -> int:
    """0, 1 or 2 for "4KiB", "2MiB", "1GiB"."""
    if not isinstance(value, str) or value not in PAGE_SIZES:
        raise ConfigError(f"{what}: {value!r}; accepted are {', '.join(PAGE_SIZES)}")
    return PAGE_SIZES[value]


def parse_largest(value: str, what: str) -> int:
    """As `parse_page_size`, and "auto": the largest page that is worth it everywhere, 2 MiB."""
    if value == "auto":
        return 1
    if not isinstance(value, str) or value not in PAGE_SIZES:
        raise ConfigError(f"{what}: {value!r}; accepted are {', '.join(PAGE_SIZES)}, auto")
    return PAGE_SIZES[value]


def format_size(count: float) -> str:
    """`count` bytes in the largest binary unit that keeps it at 1 or more, such as "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count == int(count) else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
