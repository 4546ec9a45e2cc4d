"""A page from its first example to its last: what each prints, where the page says what it prints."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from .reading import Block, blocks
from .running import in_directory, output, vmem_command, write_file
from .ways import Way, way


def session(page: Path, directory: Path) -> Generator[tuple[Block, str]]:
    """Runs the examples of a page in order; each with what it printed. It is in `directory` until closed."""
    with in_directory(directory) as servers:
        for block in blocks(page.read_text(encoding="utf-8")):
            if way(page, block) is Way.SCENARIO:
                vmem_command("run", str(write_file(block)), "--check")
            elif way(page, block) is Way.RUNS:
                yield block, output(block, servers)


def rewrite(page: Path, directory: Path) -> None:
    """Writes what the page's examples print now into the page."""
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    for block, printed in reversed(list(session(page, directory))):
        if block.said is not None and not block.said.same(printed):
            start, end = block.said.lines
            lines[start:end] = [printed]
    page.write_text("".join(lines), encoding="utf-8")
