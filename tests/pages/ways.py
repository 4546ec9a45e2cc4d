"""How each code block of the pages is held against the program."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from .reading import ROOT, Block, name


class Way(Enum):
    """What the tests do with a block. Each has a test that takes all blocks of its kind, of all pages."""

    RUNS = "runs in the page's directory, with the others of the page"
    RUNS_SLOWLY = "runs with the slow tests"
    OUTPUT = "is compared with what the block before it prints"
    SCENARIO = "goes through vmem run --check, into the page's directory"
    COMPILED = "is compiled against libvmem, and runs"
    SYNOPSIS = "is compared with the options of the command"
    SITE = "is filled in by the site; what it names is there"
    ELSEWHERE = "is taken from the page by the test that it names"


LANGUAGES = {
    "toml": Way.SCENARIO,
    "c": Way.COMPILED,
    "cpp": Way.COMPILED,
    "cmake": Way.COMPILED,
}
MARKED = {
    "sh": {"given", "serves", "slow"},
    "python": {"given", "slow"},
    "text": {"numbers vary"},
    "toml": {"file"},
    "c": {"given"},
    "cpp": {"given"},
    "cmake": {"given"},
}
"""Marks that each language understands, besides `tested by`."""


def way(page: Path, block: Block) -> Way | None:
    """How a block is exercised; None if nothing does, or if it has a mark that means nothing there."""
    if "tested by" in block.marks:
        return Way.ELSEWHERE if set(block.marks) == {"tested by"} else None
    if not set(block.marks) <= MARKED.get(block.language, set()):
        return None
    if block.language in {"sh", "python"}:
        return Way.RUNS_SLOWLY if "slow" in block.marks else Way.RUNS
    if block.language == "text":
        return Way.OUTPUT if block.is_output else None
    if block.language == "indented":
        return Way.SYNOPSIS if page == ROOT / "docs" / "reference" / "cli.md" else None
    return Way.SITE if block.language.startswith("{") else LANGUAGES.get(block.language)


def left_out(page: Path, found: list[Block]) -> list[str]:
    """Page, line and language of the blocks that nothing exercises."""
    return [f"{name(page)}:{block.line}: {block.language}" for block in found if way(page, block) is None]
