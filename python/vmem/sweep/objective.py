"""Objectives: "stall<1%", several of them with commas."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vmem.errors import ConfigError
from vmem.sweep.answers import MEANING

_WORD = re.compile(r"\s*([a-z0-9_]+)\s*(<=|>=|<|>)\s*([0-9.eE+-]+)\s*(%?)\s*")
_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Objective:
    """A bound on one number of a run."""

    name: str
    comparison: str
    bound: float

    def holds(self, numbers: Mapping[str, Any]) -> bool:
        """Not if the run has no such number."""
        value = numbers.get(self.name)
        return value is not None and _HOLDS[self.comparison](value, self.bound)

    def __str__(self) -> str:
        return f"{self.name}{self.comparison}{self.bound:g}"


def parse_objectives(text: str) -> list[Objective]:
    """ConfigError says which part is wrong, and what is accepted."""
    return [_parse(part) for part in text.split(",")]


def _parse(part: str) -> Objective:
    match = _WORD.fullmatch(part)
    if match is None:
        raise ConfigError(f"objective {part.strip()!r}: accepted is NAME<NUMBER, such as 'stall<1%'")
    name, comparison, number, percent = match.groups()
    if name not in MEANING:
        raise ConfigError(
            f"objective {part.strip()!r}: unknown number {name!r}; known are {', '.join(MEANING)}"
        )
    try:
        bound = float(number) / (100 if percent else 1)
    except ValueError:
        raise ConfigError(f"objective {part.strip()!r}: {number!r} is no number") from None
    return Objective(name, comparison, bound)
