"""Ctrl-C: it ends the command with status 130 and a message, and nothing half-written stays behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import vmem
from vmem.output import write_together

# Says when the command is under way, since what a test must wait for is that and not a time.
_ANNOUNCED = """
import sys
from vmem.cli import main, common

def announce(self, done, total):
    if done > {after} and not announce.made:
        announce.made = True
        print("under way", flush=True)

announce.made = False
common.LateBar.__call__ = announce
main(sys.argv[1:], prog_name="vmem")
"""

ENDLESS = """
[[vm]]
name = "long"
memory = "64MiB"
[[vm.process]]
workload = { kind = "uniform", size = "32MiB", references = 1_000_000_000_000 }
[[vm.process]]
trace = "sort"
repeat = 1_000_000
"""


def _interrupt(arguments: list[str], directory: Path, after: int = 0) -> subprocess.CompletedProcess[str]:
    """Starts `vmem`, interrupts it once it is under way, and waits for its end."""
    command = [sys.executable, "-c", _ANNOUNCED.format(after=after), *arguments]
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


@pytest.mark.parametrize(("steps", "after"), [(100, 0), (100_000, 20_000_000)])
def test_run(tmp_path: Path, steps: int, after: int) -> None:
    """In the middle of a first step of many minutes, and after some steps of ten million references."""
    scenario = tmp_path / "endless.toml"
    scenario.write_text(f"{ENDLESS}[run]\nsteps = {steps}\n")
    done = _interrupt(["run", str(scenario), "--json", "x.json"], tmp_path, after)
    assert done.returncode == 130
    assert "Interrupted: after " in done.stderr and "nothing was written." in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["endless.toml"]


def test_compare(tmp_path: Path) -> None:
    """While the trace is read, before anything runs: a text trace must be read to know its length."""
    (tmp_path / "long.trace").write_text("".join(f"{i % 512 << 12:08x} R\n" for i in range(3_000_000)))
    done = _interrupt(["compare", "long.trace", "--json", "x.json"], tmp_path)
    assert done.returncode == 130
    assert "Interrupted" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["long.trace"]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """A first run leaves neither files nor directories, a second one the files of the first."""
    write, written = Path.write_bytes, 0

    def interrupted(path: Path, data: bytes) -> int:
        nonlocal written
        if written == at:
            write(path, data[: len(data) // 2])
            raise KeyboardInterrupt
        written += 1
        return write(path, data)

    old = {name: b"old " + name.encode() for name in ("a", "b", "c")}
    new = {name: b"new " + name.encode() for name in ("a", "b", "c")}
    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path / "far" / "out", new)
    assert list(tmp_path.iterdir()) == []

    monkeypatch.undo()
    write_together(tmp_path / "out", old)
    written = 0
    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path / "out", new)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == old


def test_python_objects_are_usable_afterwards() -> None:
    """Ctrl-C in the middle of a replay, and then the same host goes on."""
    host = vmem.Hypervisor("1GiB")
    vm = host.create_vm("vm", memory="256MiB")
    process = vm.guest.spawn("sort")
    trace = vmem.Trace.open("sort")
    process.load(trace)

    def interrupt(done: int) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vmem.replay._PACE", 0.0)
        with pytest.raises(KeyboardInterrupt):
            process.run(trace, progress=interrupt)
    host.check()
    assert process.run(trace).references == trace.references
    host.check()
