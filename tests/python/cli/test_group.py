"""The command itself: help, version, what it imports, how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

import vmem
from vmem import cli

Command = Callable[..., Result]


def test_help_lists_every_command(vmem_command: Command) -> None:
    result = vmem_command("--help")
    assert result.exit_code == 0
    for name in cli.COMMANDS:
        assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_commands_have_help(vmem_command: Command, name: str) -> None:
    result = vmem_command(name, "--help")
    assert result.exit_code == 0
    assert "--help" in result.stdout


def test_version(vmem_command: Command) -> None:
    assert vmem_command("--version").stdout == f"vmem, version {vmem.__version__}\n"


def test_unknown_command(vmem_command: Command) -> None:
    result = vmem_command("fly")
    assert result.exit_code == 2
    assert "No such command 'fly'" in result.stderr


def _modules_after(code: str) -> set[str]:
    code = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_import_is_light() -> None:
    heavy = {"click", "rich", "plotly", "msgspec", "vmem.traces", "vmem.cli"}
    assert not _modules_after("import vmem") & heavy


def test_help_imports_no_command() -> None:
    code = "from vmem.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    modules = _modules_after(code)
    assert "vmem.cli" in modules
    commands = {module for module, _ in cli.COMMANDS.values()}
    assert not modules & ({"rich", "plotly", "vmem.traces"} | commands)


def test_python_m_vmem() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vmem", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"vmem, version {vmem.__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("what it was doing",)])
def test_interrupt_is_status_130(
    vmem_command: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    @click.command()
    def stuck() -> None:
        raise KeyboardInterrupt(*arguments)

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: stuck)
    result = vmem_command("run")
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr
    assert all(text in result.stderr for text in arguments)


@pytest.mark.parametrize(
    "arguments",
    [("run", "--limit", "1000"), ("compare", "sort", "--limit", "1000"), ("trace", "info", "bfs")],
)
def test_output_is_ascii(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Whatever a terminal's encoding is, a run does not fail at its end over a dash."""
    command = [sys.executable, "-X", "utf8=0", "-m", "vmem", *arguments]
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_files_errors_are_one_line(vmem_command: Command) -> None:
    result = vmem_command("trace", "info", "nowhere.vmt")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: nowhere.vmt: no such file")
    assert result.stderr.count("\n") == 1
