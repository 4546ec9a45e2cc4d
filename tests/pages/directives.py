"""Blocks that the site fills in: that what they name is there. `nox -s docs` builds the site itself."""

from __future__ import annotations

import contextlib
import re
import runpy
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from .reading import DOCS, Block


def missing(page: Path, block: Block) -> list[str]:
    """What a block names and is not there; a directive that is not known here, too."""
    directive, _, argument = block.language.partition(" ")
    if directive in {"{include}", "{literalinclude}"}:
        return [] if (page.parent / argument).is_file() else [argument]
    if directive == "{c-header}":
        return [] if _declares(argument) else [argument]
    if directive == "{eval-rst}":
        return [name for name in _python_names(block.code) if not _resolves(name)]
    return [directive]


def _declares(header: str) -> bool:
    """Whether the header is there and has something to show."""
    reader = runpy.run_path(str(DOCS / "_ext" / "c_declarations.py"))
    path = reader["INCLUDE"] / header
    return path.is_file() and bool(reader["entries"](path.read_text(encoding="utf-8")))


def _python_names(code: str) -> list[str]:
    """What directives of autodoc name, with the package before it; a line that is none of theirs as it is."""
    names: list[str] = []
    for line in code.splitlines():
        if (found := re.fullmatch(r"\.\. (?:auto\w+|currentmodule):: ([\w.]+)", line)) is not None:
            names.append(found[1] if found[1].split(".")[0] == "vmem" else f"vmem.{found[1]}")
        elif (found := re.fullmatch(r" +:members: ([\w, ]+)", line)) is not None:
            names += [f"{names[-1]}.{member.strip()}" for member in found[1].split(",")]
        elif line and re.fullmatch(r" +:[a-z-]+:.*", line) is None:
            names.append(line)
    return names


def _resolves(name: str) -> bool:
    """Whether there is such a module (not imported: vmem.capi needs a library), or such a thing in one."""
    module, _, last = name.rpartition(".")
    with contextlib.suppress(ModuleNotFoundError):  # `module` has no others in it
        if find_spec(name) is not None:
            return True
    return hasattr(import_module(module), last)
