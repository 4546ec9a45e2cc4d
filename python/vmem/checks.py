"""What arguments may be: every refusal says which argument, what came, and what is accepted."""

from __future__ import annotations

from typing import Any

from vmem.errors import ConfigError

WORD = 2**64


def is_int(value: Any) -> bool:
    """An int that is no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def integer(value: Any, what: str, least: int, most: int) -> int:
    """An int from `least` to `most`."""
    if not is_int(value) or not least <= value <= most:
        raise ConfigError(f"{what}: {value!r}; accepted is an int from {least} to {most}")
    return int(value)


def address(value: Any, what: str) -> int:
    """An int that fits 64 bits. Whether anything is there is a matter of the page tables."""
    if not is_int(value) or not 0 <= value < WORD:
        raise ConfigError(f"{what}: {value!r}; accepted is an address from 0 to 2**64 - 1")
    return int(value)


def text(value: Any, what: str, *, empty: bool = False) -> str:
    """A string; not the empty one unless `empty`."""
    if not isinstance(value, str) or not (value or empty):
        raise ConfigError(f"{what}: {value!r}; accepted is a {'' if empty else 'non-empty '}string")
    return value


def one_of(value: Any, what: str, accepted: tuple[str, ...]) -> str:
    """One of some names."""
    if value not in accepted:
        raise ConfigError(f"{what}: {value!r}; accepted are {', '.join(accepted)}")
    return str(value)


def flag(value: Any, what: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{what}: {value!r}; accepted are True and False")
    return value
