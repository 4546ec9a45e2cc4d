"""Examples in pages and what they print: a ```sh or ```python block, and the ```text block right after it.

Run as a program it writes what they print now into the pages: `python tests/python/docs/blocks.py PAGE…`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from vmem.cli import main

ROOT = Path(__file__).resolve().parents[3]
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```\n(?:\n*^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
WIDTH = "100"


class Block(NamedTuple):
    """An example. `said` is what the page says that it prints, None if it does not say."""

    language: str
    code: str
    said: str | None
    span: tuple[int, int]
    """Where `said` is in the page."""


def blocks(text: str) -> Iterator[Block]:
    """The examples of a page in order."""
    for found in _BLOCK.finditer(text):
        yield Block(found[1], found[2], found[3], found.span(3))


def output(block: Block, directory: Path) -> str:
    """What an example prints, run in `directory`."""
    if block.language == "python":
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.code, "example", "exec"), {"__name__": "__main__"})
        return printed.getvalue()
    lines = block.code.replace("\\\n", " ").splitlines()
    return "".join(_command(line, directory) for line in lines if line.strip() and not line.startswith("#"))


def _command(line: str, directory: Path) -> str:
    """What a command prints. What it filters its output with is left to the shell."""
    command, _, filters = line.partition(" | ")
    words = shlex.split(command, comments=True)
    printed = _vmem(words[1:], directory) if words[0] == "vmem" else _program(words)
    if not filters:
        return printed
    done = subprocess.run(["sh", "-c", filters], input=printed, capture_output=True, text=True, check=True)
    return done.stdout


def _vmem(words: list[str], directory: Path) -> str:
    """`vmem` in this process; paths under examples/ are those of the checkout."""
    words = [str(ROOT / word) if word.startswith("examples/") else word for word in words]
    with contextlib.chdir(directory):
        result = CliRunner(env={"COLUMNS": WIDTH}).invoke(main, words)
    if result.exit_code != 0:
        raise AssertionError(f"vmem {shlex.join(words)}: {result.output}") from result.exception
    return result.stdout


def _program(words: list[str]) -> str:
    if words[0] != "python":
        raise AssertionError(f"{shlex.join(words)}: pages run vmem and python")
    command = [sys.executable, *words[1:]]
    environment = {**os.environ, "COLUMNS": WIDTH}
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def rewrite(page: Path, directory: Path) -> None:
    """The page with what its examples print now."""
    text = page.read_text(encoding="utf-8")
    for block in reversed(list(blocks(text))):
        if block.said is not None:
            start, end = block.span
            text = text[:start] + output(block, directory) + text[end:]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as scratch:
            rewrite(Path(name), Path(scratch))
