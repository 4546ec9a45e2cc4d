"""Runs the examples of a page, one after the other in a directory of their own."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner

from vmem.cli import main

from .needs import require
from .not_run import is_not_run
from .reading import ROOT, Block

WIDTH = "100"
ENVIRONMENT = {**os.environ, "COLUMNS": WIDTH}


@contextlib.contextmanager
def in_directory(directory: Path) -> Iterator[contextlib.ExitStack]:
    """Makes it the current one, and ends what is served there. As in a checkout, examples/ is in it."""
    (directory / "examples").symlink_to(ROOT / "examples")
    with contextlib.chdir(directory), contextlib.ExitStack() as servers:
        yield servers


def output(block: Block, servers: contextlib.ExitStack) -> str:
    """What an example prints; a server is ended with `servers`, and what it prints is not in it.

    Raises `Unavailable` where the machine cannot run it.
    """
    if block.language == "python":
        out = io.StringIO()
        code = block.marks.get("given", "") + "\n" + block.code
        with contextlib.redirect_stdout(out):
            exec(compile(code, "example", "exec"), {"__name__": "__main__"})
        return out.getvalue()
    commands = shell_commands(block.code)
    require(commands)
    if "given" in block.marks:
        subprocess.run(["sh", "-e", "-c", block.marks["given"]], check=True)
    server = commands.pop() if "serves" in block.marks else None
    printed = "".join(_command(command) for command in commands if not is_not_run(command))
    if server is not None:
        servers.enter_context(_serving(server))
    return printed


def write_file(block: Block) -> Path:
    """Puts the block where the page's commands look for it."""
    path = Path(block.marks.get("file", "scenario.toml"))
    path.write_text(block.code, encoding="utf-8")
    return path


def shell_commands(code: str) -> list[str]:
    """The commands of a shell block: one on each line, or several with && between them."""
    lines = code.replace("\\\n", " ").splitlines()
    stripped = (shlex.split(line, comments=True) and line for line in lines)
    return [command.strip() for line in stripped if line for command in line.split(" && ")]


def _command(line: str) -> str:
    """What a command prints. What it filters its output with, and other programs, are left to the shell."""
    command, _, filters = line.partition(" | ")
    words = shlex.split(command, comments=True)
    if words[0] == "vmem":
        printed = vmem_command(*words[1:])
    elif words[0] == "python":
        printed = _program([sys.executable, *words[1:]])
    else:
        printed = _program(["sh", "-c", command])
    return _program(["sh", "-c", filters], printed) if filters else printed


def vmem_command(*words: str) -> str:
    """What `vmem` prints, in this process."""
    result = CliRunner(env={"COLUMNS": WIDTH}).invoke(main, list(words))
    if result.exit_code != 0:
        raise AssertionError(f"vmem {shlex.join(words)}: {result.output}") from result.exception
    return result.stdout


def _program(command: list[str], text: str = "") -> str:
    done = subprocess.run(command, env=ENVIRONMENT, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{shlex.join(command)}: {done.stderr}")
    return done.stdout


@contextlib.contextmanager
def _serving(line: str) -> Iterator[None]:
    """A `vmem serve` that has said that it is ready, ended as a reader ends it."""
    words = shlex.split(line, comments=True)
    assert words[:2] == ["vmem", "serve"], f"{line}: only vmem serve goes on by itself"
    command = [sys.executable, "-m", "vmem", *words[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            head = process.stdout.readline()
            if not head.startswith("Serving "):
                raise AssertionError(f"{line}: {head}{process.communicate()[1]}")
            yield
            process.send_signal(signal.SIGINT)
            process.communicate()
            assert process.returncode == 130, f"{line}: ended with {process.returncode}"
        finally:
            process.kill()
