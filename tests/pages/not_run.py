"""Commands that tests cannot run: they install, or are the tests. What they name is checked instead."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple

from .reading import ROOT


class NotRun(NamedTuple):
    """A command that is not run."""

    why: str
    check: Callable[[str], bool]
    """Whether what the command names is there."""


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def extras_exist(text: str) -> bool:
    """Whether every extra that is asked for, as `.[report]` or `vmem-sim[unicorn]`, is one."""
    named = re.findall(r"(?<![\w.-])(?:\.|vmem-sim)\[([\w,-]+)\]", text)
    return {extra for names in named for extra in names.split(",")} <= set(extras())


def extras() -> dict[str, list[str]]:
    found: dict[str, list[str]] = project()["project"]["optional-dependencies"]
    return found


def _installs(command: str) -> bool:
    """What `pip install` is told: this directory with extras, dependency groups, or pip itself."""
    words = shlex.split(command, comments=True)[2:]
    groups = [after for word, after in pairwise(words) if word == "--group"]
    rest = {word for word in words if word not in groups} - {"--group", "--upgrade", "-e"}
    known = all(re.fullmatch(r"pip|\.(\[[\w,-]+\])?", word) for word in rest)
    return known and extras_exist(command) and set(groups) <= set(project()["dependency-groups"])


def _has_pytest(command: str) -> bool:
    return command == "pytest" and any(need.startswith("pytest>=") for need in extras()["test"])


NOT_RUN = {
    "pip install": NotRun("installs from the network", _installs),
    "pytest": NotRun("is what runs the pages", _has_pytest),
    "python -m venv": NotRun("is for the installation behind it", lambda _: find_spec("venv") is not None),
    ". .venv/bin/activate": NotRun("is of the environment that is not made", lambda _: True),
}


def is_not_run(command: str) -> bool:
    """Whether a command is one of those. If so what it names is there."""
    found = next((entry for start, entry in NOT_RUN.items() if f"{command} ".startswith(f"{start} ")), None)
    if found is not None and not found.check(command):
        raise AssertionError(f"{command}: it {found.why}, and names what pyproject.toml does not have")
    return found is not None
