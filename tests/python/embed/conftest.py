"""Programs in C and C++ that are built from the installed vmem and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import vmem

sys.path.insert(0, str(Path(__file__).parents[2]))  # for pages, which reads the documentation

Build = Callable[..., Path]
ROOT = Path(__file__).parents[3]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"]
COMPILERS = {".c": ["cc", "-std=c99"], ".cpp": ["c++", "-std=c++20"]}


def ask(*questions: str) -> str:
    """What `python -m vmem` answers to a build script."""
    command = [sys.executable, "-m", "vmem", *questions]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def installed() -> Path:
    """The directory of libvmem."""
    try:
        return vmem.get_library().parent
    except vmem.ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def build(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compiles one source with the flags of `python -m vmem`."""
    flags = ask("--cflags", "--libs").split()

    def compiled(source: Path) -> Path:
        compiler = COMPILERS[source.suffix]
        if shutil.which(compiler[0]) is None:
            pytest.skip(f"there is no {compiler[0]}")
        program = tmp_path_factory.mktemp("program") / source.stem
        subprocess.run([*compiler, *STRICT, str(source), "-o", str(program), *flags], check=True)
        return program

    return compiled


def figures(text: str) -> dict[str, int]:
    """Lines of a name and a number."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}
