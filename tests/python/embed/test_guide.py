"""C, C++ and CMake in the pages: compiled as the reader would, from the installed vmem, and run.

A fragment is the body of `main`, after its #include; a comment of the page says what it takes for granted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vmem
from pages.reading import DOCS, Block, all_blocks, blocks, name
from pages.ways import Way, way

from .conftest import Build

FOUND = [(page, block) for page, block in all_blocks() if way(page, block) is Way.COMPILED]
PROGRAMS = [(page, block) for page, block in FOUND if block.language != "cmake"]
GUIDE = DOCS / "guides" / "embedding.md"


def machine_of_the_guide() -> str:
    """What the guide's machine in C++ prints, from Python: entries that walks read, what its guest keeps."""
    host = vmem.Hypervisor("8GiB", swap="8GiB")
    vm = host.create_vm("vm", memory="4GiB", balloon=True)
    process = vm.guest.spawn("app")
    heap = process.mmap("1GiB").start
    process.access(*vmem.batch([heap, heap + 4096, heap], [1, 1, 0]))
    vm.balloon.target = "2GiB"
    host.advance("50s")
    return f"{vm.counters()['walk_refs']} {vm.balloon.actual}\n"


def programs_of_the_guide() -> str:
    """What its program in a VM prints that has more memory than its host."""
    host = vmem.Hypervisor("96MiB", swap="256MiB", cpu=vmem.Cpu.preset("zen3").replace(psc=None))
    vm = host.create_vm("vm", memory="128MiB")
    program = vm.guest.spawn("cache").start(vmem.workload("zipf", size="96MiB", writes=0.25))
    host.run("2s")
    time = vm.time()
    assert time.waiting > 100_000_000
    running, stalled = time.running // 1_000_000, time.waiting // 1_000_000
    return f"{program.references} references; {running} ms running, {stalled} ms stalled\n"


def fault_of_the_guide() -> str:
    """What its MMU in C prints: a store as a user to a page that is not present."""
    return "page fault at 0x1234, error code 6\n"


EXPECTED = (fault_of_the_guide, machine_of_the_guide, programs_of_the_guide)
"""What the guide's programs print, in their order."""


def whole(block: Block) -> str:
    """A fragment as a program, or its program as it is."""
    lines = [*block.marks.get("given", "").splitlines(), *block.code.splitlines()]
    if "int main(" in block.code:
        return "\n".join(lines)
    given = len(block.marks.get("given", "").splitlines())
    head = [line for at, line in enumerate(lines) if at < given or line.startswith("#include")]
    body = [line for line in lines[given:] if not line.startswith("#include")]
    parameters = "void" if block.language == "c" else ""
    return "\n".join([*head, f"int main({parameters}) {{", *body, "return 0;", "}", ""])


def run(program: Path) -> str:
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("page", "block"), PROGRAMS, ids=lambda value: name(value) if isinstance(value, Path) else value.language
)
def test_programs_compile_and_run(page: Path, block: Block, build: Build, tmp_path: Path) -> None:
    source = tmp_path / f"program.{block.language}"
    source.write_text(whole(block))
    printed = run(build(source))
    if page == GUIDE:
        of_guide = [program for of, program in PROGRAMS if of == GUIDE]
        assert len(of_guide) == len(EXPECTED)
        assert printed == EXPECTED[of_guide.index(block)]()


def test_commands_that_build(installed: Path, tmp_path: Path) -> None:
    """Those of the guide, on its first program of each language and its lines of CMake."""
    for tool in ("cc", "c++", "cmake"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    for page, block in FOUND:
        assert page == GUIDE, "programs of other pages need a test that builds them as their pages say"
        lists = "\n".join([block.marks["given"], block.code]) if block.language == "cmake" else ""
        path = tmp_path / ("CMakeLists.txt" if lists else f"program.{block.language}")
        if not path.exists():
            path.write_text(lists or whole(block))
    shell = next(block for block in blocks(GUIDE.read_text(encoding="utf-8")) if block.language == "sh")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    printed = []
    for command in shell.code.splitlines():
        last = f"{command} && cmake --build build" if command.startswith("cmake") else command
        subprocess.run(
            ["sh", "-e", "-c", last], cwd=tmp_path, env=environment, check=True, capture_output=True
        )
        printed.append(run(tmp_path / ("build/program" if command.startswith("cmake") else "program")))
    assert printed == [fault_of_the_guide(), *[machine_of_the_guide()] * 2]
