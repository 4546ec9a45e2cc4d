"""`vmem run --elf`: what it prints, its exit status, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from vmem.cli import main

from .conftest import Compile


def vmem(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vmem", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, input=stdin, capture_output=True, check=False, env=environment)


@pytest.mark.parametrize("mode", ["native", "nested", "shadow", "software-tlb"])
def test_a_program(compile_static: Compile, tmp_path: Path, mode: str) -> None:
    path, numbers = compile_static("sorter.c"), tmp_path / "numbers.json"
    done = vmem("run", "--elf", path, 500, 7, "--mode", mode, "--memory", "64MiB", "--json", numbers)
    assert (done.returncode, done.stderr) == (0, b"")
    alone = subprocess.run([path, "500", "7"], capture_output=True, check=True)
    printed, tables = done.stdout[: len(alone.stdout)], done.stdout[len(alone.stdout) :].decode()
    assert printed == alone.stdout
    written = json.loads(numbers.read_text())
    assert f"{path}: exit status 0 after {written['instructions']:,} instructions" in tables
    assert f"vm  {mode}" in tables and "cycles" in tables
    assert written["mode"] == mode and written["memory"] == "64MiB"
    assert written["command"] == [str(path), "500", "7"]
    assert (written["status"], written["end"], written["unknown_calls"]) == (0, "exit status 0", [])
    counters, accesses = written["counters"], written["accesses"]
    assert counters["fetches"] == accesses["fetches"]
    # Besides the program's own: what the kernel copied for execve and write.
    assert 0 <= counters["loads"] - accesses["loads"] < 10 < counters["stores"] - accesses["stores"] < 400


def test_its_status_is_the_programs(compile_static: Compile) -> None:
    done = vmem("run", "--elf", compile_static("calls.c"), "load")
    assert done.returncode == 139
    assert b"SIGSEGV: load of 0x123456 at rip 0x" in done.stdout


def test_streams_are_its_own(compile_static: Compile) -> None:
    done = vmem("run", "--elf", compile_static("calls.c"), "calls", stdin=b"hello, world")
    assert done.returncode == 0 and done.stdout.startswith(b"one two\ncut\n2 arguments, calls, ")


def test_unknown_calls_are_warnings(compile_static: Compile) -> None:
    done = vmem("run", "--elf", compile_static("calls.c"), "unknown")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines() == [
        f"Warning: system call {number} does not exist here: the program got ENOSYS" for number in (777, 57)
    ]


def test_less_host_memory_than_it_needs(compile_static: Compile, tmp_path: Path) -> None:
    path, numbers = compile_static("sorter.c"), tmp_path / "numbers.json"
    done = vmem(
        *("run", "--elf", path, "1600", "1", "--memory", "16MiB", "--host-memory", "2MiB", "--json", numbers)
    )
    alone = subprocess.run([path, "1600", "1"], capture_output=True, check=True)
    assert done.returncode == 0 and done.stdout.startswith(alone.stdout)
    assert json.loads(numbers.read_text())["host_stat"]["swapped_in"] > 0


def test_limit(compile_static: Compile) -> None:
    done = vmem("run", "--limit", 1000, "--elf", compile_static("calls.c"), "--", "--load")
    assert done.returncode == 0 and b"stopped by --limit after 1,000 instructions" in done.stdout


def test_refusals(compile_static: Compile, tmp_path: Path) -> None:
    path = compile_static("calls.c")
    for arguments, status, message in (
        (("--elf", path, "--out", tmp_path), 2, "--out goes without --elf"),
        (("--elf", path, "--check"), 2, "--check goes without --elf"),
        (("--mode", "shadow"), 2, "--mode goes with --elf"),
        (("--host-memory", "1GiB"), 2, "--host-memory goes with --elf"),
        (("a.toml", "b.toml"), 2, "accepted is one SCENARIO, given are 2"),
        (("--elf", tmp_path / "nothing"), 2, "does not exist"),
        (("--elf", path, "--memory", "much"), 1, "--memory: 'much' is not a size"),
        (("--elf", path, "--memory", "100KiB"), 1, "its kernel needs at least"),
        (("--elf", path, "--cpu", "abacus"), 1, "abacus"),
        (("--elf", __file__), 1, "not an ELF file; accepted are ELF files of x86-64 programs"),
        (("--elf", path, "wait"), 1, "waits for a thread that does not exist"),
        (
            ("--elf", path, "eat", "--memory", "64MiB", "--mode", "native", "--host-memory", "32MiB"),
            1,
            "does not fit into the host's",
        ),
    ):
        done = CliRunner().invoke(main, ["run", *(str(argument) for argument in arguments)])
        assert (done.exit_code, message in done.stderr) == (status, True), (arguments, done.output)
        assert isinstance(done.exception, SystemExit)
        assert status == 2 or len(done.stderr.splitlines()) == 1, done.stderr
