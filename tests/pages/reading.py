"""The pages of the documentation, and the code blocks in them.

A page says in a comment right before a block what its reader need not see:

- `<!-- example: given`, lines of code, `-->`: what a fragment takes for granted; goes before it.
- `<!-- example: file NAME -->`: the page's later commands find the block under this name.
- `<!-- example: serves -->`: the last command goes on until the page ends; those below it are its clients.
- `<!-- example: slow -->`: takes minutes, and runs with the other slow tests.
- `<!-- example: numbers vary -->`: digits in the output are not compared, everything else is.
- `<!-- example: tested by FILE::TEST -->`: that test takes the block from its page and does more with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

PRINTING = ("sh", "python")
MARKS = ("given", "file", "serves", "slow", "numbers vary", "tested by")
_MARK = re.compile(rf"<!-- example: ({'|'.join(MARKS)})\b\s*(.*?)\s*-->\s*", re.DOTALL)


class Block(NamedTuple):
    """A code block of a page."""

    language: str
    """The word behind the fence; `indented` for one without a fence."""
    code: str
    line: int
    marks: dict[str, str]
    said: Said | None
    """What the page says that it prints; None if it does not say."""
    is_output: bool
    """Whether it is what the block before it prints."""


class Said(NamedTuple):
    text: str
    lines: tuple[int, int]
    """Its lines in the page, without the fences, counted from 0; the second is the one behind."""
    varies: bool
    """Whether digits are compared."""

    def same(self, printed: str) -> bool:
        """Whether that is what was printed."""
        return _shape(printed) == _shape(self.text) if self.varies else printed == self.text


def _shape(text: str) -> str:
    return re.sub(r"\d+", "0", text)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str) -> list[Block]:
    """The code blocks of a page in order. A comment that is no mark, or marks nothing, is a ValueError."""
    found: list[Block] = []
    before: Token | None = None
    marks: dict[str, str] = {}
    for token in MarkdownIt().parse(text):
        if token.map is None:
            continue
        if token.type == "html_block" and "example:" in token.content:
            marks |= _marks(token)
            continue
        if token.type in {"fence", "code_block"}:
            language = token.info.strip() if token.type == "fence" else "indented"
            is_output = language == "text" and _prints(before, found)
            if is_output:
                lines = (token.map[0] + 1, token.map[1] - 1)
                said = Said(token.content, lines, "numbers vary" in marks)
                found[-1] = found[-1]._replace(said=said)
            found.append(Block(language, token.content, token.map[0] + 1, marks, None, is_output))
        elif marks:
            raise ValueError(f"line {token.map[0] + 1}: the mark before it is not before a block")
        before, marks = token, {}
    if marks:
        raise ValueError(f"{', '.join(marks)}: marks at the end of the page")
    return found


def _prints(before: Token | None, found: list[Block]) -> bool:
    """Whether what is right before a block is one whose output is taken here."""
    fence = before is not None and before.type == "fence"
    return fence and found[-1].language in PRINTING and "tested by" not in found[-1].marks


def _marks(comment: Token) -> dict[str, str]:
    """The marks of a comment, or of several with no line between them."""
    assert comment.map is not None
    found, at = {}, 0
    while (mark := _MARK.match(comment.content, at)) is not None:
        found[mark[1]], at = mark[2], mark.end()
    if at < len(comment.content):
        raise ValueError(
            f"line {comment.map[0] + 1}: a comment that is no mark; accepted are {', '.join(MARKS)}"
        )
    return found


def all_blocks() -> Iterator[tuple[Path, Block]]:
    """Every block of every page. A mark that is wrong is a ValueError."""
    for page in PAGES:
        try:
            found = blocks(page.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{name(page)}, {error}") from None
        yield from ((page, block) for block in found)
