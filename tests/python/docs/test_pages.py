"""What the pages say that their examples print is what they print; examples that say nothing run."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent
tool = runpy.run_path(str(HERE / "blocks.py"))
ROOT: Path = tool["ROOT"]
DOCS = ROOT / "docs"
PAGES = [
    *(path.relative_to(DOCS) for path in sorted((DOCS / "concepts").glob("*.md"))),
    *map(Path, ("quickstart.md", "guides/architect.md", "guides/operator.md", "guides/teacher.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_examples_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    found = list(tool["blocks"]((DOCS / page).read_text(encoding="utf-8")))
    assert found, "a page of questions and answers has a command"
    for block in found:
        printed = tool["output"](block, tmp_path)
        if block.said is not None:
            assert printed == block.said, block.code


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_within_sentences_run(page: Path, tmp_path: Path) -> None:
    for command in re.findall(r"`(vmem explain --[^`]*)`", (DOCS / page).read_text(encoding="utf-8")):
        tool["_command"](command.replace(" FILE", " file.svg"), tmp_path)


@pytest.mark.slow
def test_long_commands_run(tmp_path: Path) -> None:
    """Those that a page shows indented: minutes of sweeps and searches."""
    text = "".join((DOCS / page).read_text(encoding="utf-8") for page in PAGES)
    commands = re.findall(r"^    (vmem (?:plan|sweep) .*)$", text, re.MULTILINE)
    assert len(commands) == 2
    for command in [*commands, "python examples/room_for_one_more.py", "python examples/which_policy.py"]:
        assert tool["_command"](command, tmp_path)


def test_every_page_is_in_the_site() -> None:
    listed = re.findall(r"(?:file|root): (\S+)", (DOCS / "_toc.yml").read_text(encoding="utf-8"))
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")}
    assert sorted(listed) == sorted(pages)


def test_the_reference_of_c_has_everything() -> None:
    """Every function that is exported and every constant of the headers is in what the site shows of them."""
    headers = runpy.run_path(str(DOCS / "_ext" / "c_declarations.py"))
    names = ("status.h", "mmu.h", "host.h")
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
