"""What varies in a sweep, and a scenario with it set."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmem.errors import ConfigError
from vmem.scenario import Scenario

_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+")
_MOST = 100_000
_PAGE = 4096

Setting = str | int | float | bool
Settings = dict[str, Setting]
"""Of one run: key → value."""


def parse_grid(words: Sequence[str]) -> list[Settings]:
    """All combinations of "key=value,value" words, the last key varying fastest.

    Keys are `policy` (a name, or none), `ratio`, `seed`, or a path into the scenario such as `policy.tax` or
    `vm.0.memory`. "1..8" are the whole numbers from 1 to 8. ConfigError says which word is wrong.
    """
    axes: dict[str, list[Setting]] = {}
    for word in words:
        key, equals, values = word.partition("=")
        if not equals or (key not in ("policy", "ratio", "seed") and not _PATH.fullmatch(key)):
            raise ConfigError(
                f"grid {word!r}: accepted is key=value,value,…; keys are policy, ratio, seed, or a path into "
                "the scenario such as policy.tax"
            )
        if key in axes:
            raise ConfigError(f"grid {word!r}: {key} is there twice")
        axes[key] = _values(values, word)
    points = 1
    for axis in axes.values():
        points *= len(axis)
    if points > _MOST:
        raise ConfigError(f"grid: {points:,} runs; accepted are at most {_MOST:,}")
    return [dict(zip(axes, chosen, strict=True)) for chosen in itertools.product(*axes.values())]


def _values(text: str, word: str) -> list[Setting]:
    values: list[Setting] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match:
            first, last = int(match[1]), int(match[2])
            if not first <= last < first + _MOST:
                raise ConfigError(f"grid {word!r}: {part!r}; accepted is a range such as 1..8")
            values += range(first, last + 1)
        elif part.strip():
            values.append(_value(part.strip()))
    if not values:
        raise ConfigError(f"grid {word!r}: accepted are one or more values")
    if len(set(values)) < len(values):
        raise ConfigError(f"grid {word!r}: a value is there twice")
    return values


def _value(text: str) -> Setting:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True)
class Base:
    """The scenario that all runs of a sweep begin with, as it can be sent to other processes."""

    text: str
    file: str
    directory: str

    @classmethod
    def read(cls, path: Path) -> Base:
        """ConfigError unless the file is a good scenario."""
        scenario = Scenario.load(path)
        return cls(scenario.text, str(path), str(path.parent))

    def scenario(self, settings: Mapping[str, Setting]) -> Scenario:
        """With these settings. ConfigError names what is wrong with it then."""
        tables = deepcopy(tomllib.loads(self.text))
        for key, value in settings.items():
            if key not in ("policy", "ratio", "seed"):
                _set(tables, key, value, self.file)
        if "seed" in settings:
            tables.setdefault("host", {})["seed"] = settings["seed"]
        if "policy" in settings:
            _choose_policy(tables, settings["policy"])
        if "ratio" in settings:
            tables.setdefault("host", {})["memory"] = self._memory(tables, settings["ratio"])
        return Scenario.of(tables, self.text, file=self.file, base=Path(self.directory))

    def _memory(self, tables: dict[str, Any], ratio: Setting) -> int:
        """Of a host that promises so many times what it has."""
        if isinstance(ratio, bool | str) or not 0 < ratio <= 1000:
            raise ConfigError(f"ratio: {ratio!r}; accepted is a number above 0, at most 1000")
        scenario = Scenario.of(tables, self.text, file=self.file, base=Path(self.directory))
        promised = sum(vm.memory * vm.count for vm in scenario.vms)
        return int(promised / ratio) // _PAGE * _PAGE


def _choose_policy(tables: dict[str, Any], name: Setting) -> None:
    """Parameters stay if it is the policy that they are of."""
    old = tables.get("policy", {})
    if name == "none":
        tables.pop("policy", None)
    elif isinstance(old, dict) and old.get("name") != name:
        common = ("floor", "agents")
        tables["policy"] = {"name": name, **{key: old[key] for key in common if key in old}}


def _set(tables: dict[str, Any], path: str, value: Setting, file: str) -> None:
    *most, last = path.split(".")
    at: Any = tables
    for i, step in enumerate(most):
        if isinstance(at, list):
            if not step.isdecimal() or int(step) >= len(at):
                raise ConfigError(f"grid {path!r}: {file} has no {'.'.join(most[: i + 1])}")
            at = at[int(step)]
        else:
            at = at.setdefault(step, {})
        if not isinstance(at, dict | list):
            raise ConfigError(f"grid {path!r}: {file}: {'.'.join(most[: i + 1])} is no table")
    if not isinstance(at, dict):
        raise ConfigError(f"grid {path!r}: accepted is the path of a key, such as vm.0.memory")
    at[last] = value
