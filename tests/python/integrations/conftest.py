"""What the tests of machine code share: a C compiler's programs, and bare processes."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("programs")

Compile = Callable[..., Path]


@pytest.fixture(scope="session")
def compile_static(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """compile_static("sorter.c", *options) → the program, made once."""
    if shutil.which("gcc") is None or platform.machine() != "x86_64" or platform.system() != "Linux":
        pytest.skip("needs gcc for x86-64 Linux")
    made: dict[tuple[str, ...], Path] = {}
    directory = tmp_path_factory.mktemp("programs")

    def compile_one(source: str, *options: str) -> Path:
        key = (source, *options)
        if key not in made:
            target = directory / f"{Path(source).stem}{len(made)}"
            flags = options or ("-static",)
            command = ["gcc", "-O2", *flags, "-o", str(target)]
            subprocess.run([*command, str(PROGRAMS / source)], check=True)
            made[key] = target
        return made[key]

    return compile_one
