"""docs/guides/real-code.md does what it says, from its first command to its last."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vmem
from vmem.integrations.unicorn import Program

from .conftest import Compile

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "real-code.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def directory(compile_static: Compile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the guide's program is, and a `vmem`."""
    assert compile_static  # skips where there is no compiler
    where = tmp_path_factory.mktemp("guide")
    (source,) = blocks("c")
    (where / "sum.c").write_text(source)
    command = where / "vmem"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vmem "$@"\n')
    command.chmod(0o755)
    return where


def test_commands(directory: Path) -> None:
    (script,) = blocks("sh")
    environment = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    alone = subprocess.run([directory / "sum", "100000"], capture_output=True, text=True, check=True).stdout
    assert done.stderr == "" and done.stdout.startswith(alone) and done.stdout.count(alone) == 4
    assert done.stdout.count("exit status 0") == 4
    assert [mode in done.stdout for mode in ("nested 4KiB", "shadow 4KiB", "native ")] == [True] * 3
    assert json.loads((directory / "sum.json").read_text())["host_stat"]["swapped_in"] > 0


def test_several_at_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = blocks("python")[0]
    monkeypatch.chdir(directory)
    subprocess.run(["gcc", "-static", "-O2", "sum.c", "-o", "sum"], check=True)
    host = vmem.Hypervisor("64MiB")
    for name in ("one", "two"):
        host.create_vm(name, memory="16MiB")
    written, printed = io.BytesIO(), io.StringIO()

    def program(*arguments: object) -> Program:
        return Program(*arguments, stdout=written)  # type: ignore[arg-type]

    with contextlib.redirect_stdout(printed):
        exec(compile(code, "guide", "exec"), {"host": host, "Program": program})
    lines = printed.getvalue().splitlines()
    assert len(lines) == 2 and lines[0] == lines[1] and lines[0].startswith("exit status 0 ")
    assert len(set(written.getvalue().splitlines())) == 1
