"""The examples of every page run, and print what the page says that they print."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pages.needs import Unavailable
from pages.reading import DOCS, PAGES, ROOT, all_blocks, name
from pages.running import in_directory, output, shell_commands, vmem_command
from pages.sessions import session
from pages.ways import Way, way


def having(*ways: Way) -> list[Path]:
    """The pages that have blocks of these kinds."""
    return list(dict.fromkeys(page for page, block in all_blocks() if way(page, block) in ways))


LONG = {block.code: block for page, block in all_blocks() if way(page, block) is Way.RUNS_SLOWLY}


@pytest.mark.parametrize("page", having(Way.RUNS, Way.SCENARIO), ids=name)
def test_examples_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    with closing(session(page, tmp_path)) as examples:
        try:
            for block, printed in examples:
                if block.said is not None:
                    assert block.said.same(printed), f"line {block.line}:\n{block.code}{printed}"
        except Unavailable as lack:  # what stands before it on the page has run
            pytest.skip(str(lack))


@pytest.mark.slow
@pytest.mark.parametrize("code", LONG)
def test_long_examples_run(code: str, tmp_path: Path) -> None:
    """Minutes of sweeps and searches; what several pages show runs once."""
    with in_directory(tmp_path) as servers:
        printed = output(LONG[code], servers)
    said = LONG[code].said
    assert printed and (said is None or said.same(printed))


def test_pages_of_questions_and_answers_have_a_command() -> None:
    guides = [DOCS / "guides" / f"{reader}.md" for reader in ("architect", "operator", "teacher")]
    assert {*(DOCS / "concepts").glob("*.md"), *guides, DOCS / "quickstart.md"} <= set(having(Way.RUNS))


def test_outputs_are_written_anew(tmp_path: Path) -> None:
    """By `python tests/python/docs/blocks.py`, which leaves alone what is right."""
    page = tmp_path / "page.md"
    example = "```python\nprint({})\n```\n\n{}```text\n{}\n```\n\nWords.\n\n"
    vary = "<!-- example: numbers vary -->\n"
    page.write_text(example.format("1 + 1", "", "wrong") + example.format("30", vary, "45"))
    tool = runpy.run_path(str(Path(__file__).with_name("blocks.py")))
    tool["write_anew"]([str(page)])
    assert page.read_text() == example.format("1 + 1", "", "2") + example.format("30", vary, "45")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_within_sentences_run(page: Path, tmp_path: Path) -> None:
    with in_directory(tmp_path):
        for command in re.findall(r"`(vmem explain --[^`]*)`", page.read_text(encoding="utf-8")):
            (words,) = (line.split()[1:] for line in shell_commands(command.replace(" FILE", " file.svg")))
            assert vmem_command(*words)


@pytest.mark.slow
@pytest.mark.parametrize("example", ["room_for_one_more", "which_policy"])
def test_long_programs_run(example: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / f"{example}.py")]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


def test_every_page_is_in_the_site() -> None:
    listed = re.findall(r"(?:file|root): (\S+)", (DOCS / "_toc.yml").read_text(encoding="utf-8"))
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")}
    assert sorted(listed) == sorted(pages)


def test_the_reference_of_c_has_everything() -> None:
    """Every function that is exported and every constant of the headers is in what the site shows of them."""
    headers = runpy.run_path(str(DOCS / "_ext" / "c_declarations.py"))
    names = ("status.h", "cpu.h", "mmu.h", "host.h", "program.h")
    texts = [(headers["INCLUDE"] / name).read_text(encoding="utf-8") for name in names]
    entries = [entry for text in texts for entry in headers["entries"](text)]
    code = "\n".join(part for entry in entries for part in entry.code)
    constants = {name for text in texts for name in re.findall(r"\b(VMEM_\w+) = ", text)}
    assert len(constants) > 50
    assert not {name for name in constants if f"{name} = " not in code}
    named = [found for entry in entries for part in entry.code if (found := headers["name_of"](part))]
    functions = [re.search(r"(vmem_\w+)\(", what)[1] for kind, what in named if kind == "function"]
    exported = (ROOT / "tests" / "capi" / "exports.txt").read_text(encoding="utf-8").split()
    assert sorted(functions) == exported
