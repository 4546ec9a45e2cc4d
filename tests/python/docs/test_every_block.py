"""No code block of any page is left out: each is run, compiled, or held against what it names."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from pages import directives, not_run, synopses
from pages.reading import DOCS, PAGES, ROOT, Block, all_blocks, blocks, name
from pages.running import shell_commands
from pages.ways import Way, left_out, way


def of(kind: Way) -> list[tuple[Path, Block]]:
    return [(page, block) for page, block in all_blocks() if way(page, block) is kind]


def listed(page: Path, block: Block) -> str:
    """Page, line and language of a block, and what the tests do with it."""
    done = way(page, block)
    return f"{name(page)}:{block.line} {block.language}: {done.name.lower() if done else 'nothing'}"


@pytest.mark.parametrize(("page", "block"), [pytest.param(*each, id=listed(*each)) for each in all_blocks()])
def test_every_block_is_exercised(page: Path, block: Block) -> None:
    """`pytest --collect-only` on this test is the list of them."""
    assert left_out(page, [block]) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_there_are_no_other_blocks(page: Path) -> None:
    """What the site takes for a block and Markdown for text: fences of colons, and code in HTML."""
    assert re.search(r"^\s*:::|<pre|<code", page.read_text(encoding="utf-8"), re.MULTILINE) is None


def test_every_kind_occurs() -> None:
    """Rules that apply to nothing are no rules; and the pages are read, since so many blocks are found."""
    found = Counter(way(page, block) for page, block in all_blocks())
    assert set(found) == set(Way)
    assert found[Way.RUNS] > 40 and found[Way.OUTPUT] > 20


@pytest.mark.parametrize(
    ("text", "line", "language"),
    [
        ("Some words.\n\n```perl\nprint 1\n```\n", 3, "perl"),
        ("```\nno language\n```\n", 1, ""),
        ("~~~text\nof no command\n~~~\n", 1, "text"),
        ("```sh\nvmem run\n```\n\nthen\n\n```text\n1\n```\n", 7, "text"),
        ("A paragraph.\n\n    vmem indented\n", 3, "indented"),
        ("- a list\n\n  ```json\n  {}\n  ```\n", 3, "json"),
        ("<!-- example: slow -->\n```toml\n[host]\n```\n", 2, "toml"),
        ("<!-- example: tested by a.py::b -->\n```sh\nvmem\n```\n\n```text\n1\n```\n", 6, "text"),
    ],
)
def test_what_is_left_out_is_named(text: str, line: int, language: str) -> None:
    page = DOCS / "guides" / "made-up.md"
    assert left_out(page, blocks(text)) == [f"docs/guides/made-up.md:{line}: {language}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "<!-- example: slwo -->\n```sh\nvmem\n```\n",
            "line 1: a comment that is no mark; accepted are given,",
        ),
        ("<!-- example: slow -->\n\nWords.\n\n```sh\nvmem\n```\n", "line 3: the mark before it"),
        ("```sh\nvmem\n```\n\n<!-- example: slow -->\n", "slow: marks at the end"),
    ],
)
def test_marks_that_mark_nothing(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        blocks(text)


@pytest.mark.parametrize(("page", "block"), of(Way.ELSEWHERE), ids=str)
def test_tests_that_blocks_name_are_there(page: Path, block: Block) -> None:
    """Each is a test in a file that reads the page."""
    file, _, test = block.marks["tested by"].partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    functions = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert test in functions and test.startswith("test_")
    assert f'"{page.name}"' in text


def test_what_the_site_fills_in_is_there() -> None:
    found = of(Way.SITE)
    assert {
        name(page): missing for page, block in found if (missing := directives.missing(page, block))
    } == {}
    made_up = ["{include} nothing.md", "{c-header} nothing.h", "{c-headers} mmu.h", "{eval-rst}"]
    code = ".. autoclass:: Nothing\n"
    wrong = [Block(language, code, 1, {}, None, False) for language in made_up]
    assert [directives.missing(PAGES[0], block) for block in wrong] == [
        ["nothing.md"],
        ["nothing.h"],
        ["{c-headers}"],
        ["vmem.Nothing"],
    ]


def test_lines_of_usage_have_the_options_that_there_are() -> None:
    found = of(Way.SYNOPSIS)
    assert [message for _, block in found for message in synopses.disagreements(block.code)] == []
    wrong = "vmem walk\nvmem explain [--mmux MODE] [--svg]\nvmem run [--check NOW]\n"
    assert [message.split(": ")[1] for message in synopses.disagreements(wrong)] == [
        "no such command",
        "no --mmux",
        "--svg takes a value",
        "--check takes no value",
    ]


def test_commands_that_are_not_run() -> None:
    """By name, each with the reason; and that every one of them is in a page."""
    commands = [
        command
        for _, block in of(Way.RUNS)
        if block.language == "sh"
        for command in shell_commands(block.code)
    ]
    skipped = [command for command in commands if not_run.is_not_run(command)]
    assert {start for start in not_run.NOT_RUN if any(each.startswith(start) for each in skipped)} == set(
        not_run.NOT_RUN
    )
    assert len(skipped) < len(commands) / 4


def test_installation_names_what_there_is() -> None:
    for page in PAGES:
        assert not_run.extras_exist(page.read_text(encoding="utf-8")), name(page)
    for command in ("pip install '.[reports]'", "pip install --group deb", "pip install numpy"):
        with pytest.raises(AssertionError, match="names what pyproject"):
            not_run.is_not_run(command)
