"""`vmem run --live`: true pictures, in a real terminal, which is left as it was; the run is what it was."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from vmem.cli.live import LiveView
from vmem.cli.live_frame import HostState, VmState, cells, frame
from vmem.policies import PolicyRow
from vmem.scenario import Scenario
from vmem.timed import TimedRunner

MIB = 1 << 20
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"

SCENARIO = """
[host]
memory = "96MiB"
swap = "128MiB"

[policy]
name = "static"
interval = "1s"

[[vm]]
name = "web"
count = 2
memory = "64MiB"

[[vm.process]]
workload = {{ kind = "uniform", size = "30MiB", compute = "100us" }}

[run]
duration = "{}s"
slowdown = false
steps = 5
"""


def _vm(name: str, resident: int, **values: object) -> VmState:
    state = VmState(name, 64 * MIB, 20 * MIB, resident, 8 * MIB, 56 * MIB, 4 * MIB, 2 * MIB, 0.25, False)
    return replace(state, **values)  # type: ignore[arg-type]


def _host(*vms: VmState, **values: object) -> HostState:
    held = sum(vm.resident for vm in vms)
    row = PolicyRow(2 * 10**9, "a", 48 * MIB, 64 * MIB, 60 * MIB, 50 * MIB, None, None, None)
    state = HostState(
        "running", 0.5, 3 * 10**9, 12.0, 100 * MIB, 100 * MIB - held, 0, 0, 64 * MIB, 8 * MIB, "high",
        vms, (row,),
    )  # fmt: skip
    return replace(state, **values)  # type: ignore[arg-type]


def _drawn(host: HostState, width: int = 100, height: int = 30) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(frame(host, width, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_picture_says_what_is() -> None:
    lines = _drawn(_host(_vm("a", 50 * MIB), _vm("b", 25 * MIB, killed=True)), width=102)
    assert lines[0].split() == "running: 50% 3 s simulated, 12 simulated s/s".split()
    assert lines[1] == f"[{'A' * 50}{'B' * 25}{'·' * 25}]"
    assert lines[2].startswith("25.0 MiB free of 100 MiB (high); 8.00 MiB of 64.0 MiB swapped; 16.0 MiB ball")
    row = next(line for line in lines if line.startswith("A"))
    numbers = "a 20.0 MiB 50.0 MiB 8.00 MiB 56.0 MiB 25.0% 4.00 MiB 2.00 MiB"
    assert row.split() == ["A", *numbers.split()]
    assert any(line.split() == ["B", "b", "killed"] for line in lines)
    assert lines[-1] == "2 s: a from 64.0 MiB to 48.0 MiB, keeps 60.0 MiB"


@pytest.mark.parametrize(("count", "width", "height"), [(3, 80, 24), (200, 80, 24), (70, 40, 8), (12, 20, 3)])
def test_a_picture_fits_its_terminal(count: int, width: int, height: int) -> None:
    vms = [_vm(f"a-name-that-is-long-{i}", MIB // 4 + i) for i in range(count)]
    lines = _drawn(_host(*vms), width, height)
    assert all(len(line) <= width for line in lines)
    assert len(lines) < max(height, 12)
    shown = sum("a-name" in line for line in lines)
    assert shown == count or any(f"{count - shown} more" in line for line in lines)


@pytest.mark.parametrize("parts", [[], [0, 0], [1, 1, 1], [100], [33, 33, 34], [1] * 90])
def test_the_bar_is_never_longer_than_it_is(parts: list[int]) -> None:
    for width in (1, 7, 98):
        counts = cells(parts, 100, width)
        assert len(counts) == len(parts) and min(counts, default=0) >= 0
        assert sum(counts) == round(width * sum(parts) / 100)


def test_what_is_shown_is_the_host_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture that is drawn of a run agrees with the host; looking changes nothing."""
    monkeypatch.setattr("vmem.cli.live._EVERY", 0.0)
    alone = TimedRunner(Scenario.parse(SCENARIO.format(5))).run()
    runner = TimedRunner(Scenario.parse(SCENARIO.format(5)))
    console = Console(file=io.StringIO(), width=100, height=30)
    pictures = []

    def look(host: HostState, width: int, height: int) -> str:
        vms = list(runner.hypervisor)
        assert host.free == runner.hypervisor.meminfo()["free"]
        assert [vm.resident for vm in host.vms] == [vm.resident for vm in vms]
        assert sum(vm.swapped_by_host for vm in host.vms) == host.swap_used
        assert all(0 <= vm.stall <= 1 for vm in host.vms)
        pictures.append(host)
        return ""

    monkeypatch.setattr("vmem.cli.live.frame", look)
    with LiveView(runner, "running", console) as view:
        watched = runner.run(view)
    assert watched.summary == alone.summary and watched.timeline == alone.timeline
    assert len(pictures) >= 5 and pictures[-1].done == 1 and pictures[-1].decisions


class Terminal:
    """A program in a pseudo-terminal of 24 lines with 80 columns, which is its controlling terminal."""

    def __init__(self, command: list[str], directory: Path) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.execvpe(command[0], command, {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"})
        self.before = termios.tcgetattr(self.master)
        self.seen = b""

    def read_until(self, text: bytes) -> None:
        while text not in self.seen and self._read():
            pass
        assert text in self.seen, self.seen

    def _read(self) -> bytes:
        try:
            part = os.read(self.master, 65536)
        except OSError:  # the program has ended
            part = b""
        self.seen += part
        return part

    def finish(self) -> int:
        """The exit status; all of its output is in `seen` then."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def scenario(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO.format(60))
    return path


def test_in_a_terminal(scenario: Path) -> None:
    terminal = Terminal([sys.executable, "-m", "vmem", "run", str(scenario), "--live"], scenario.parent)
    terminal.read_until(b"running small")
    terminal.read_until(b"web-2")
    assert termios.tcgetattr(terminal.master) == terminal.before
    assert terminal.finish() == 0
    assert terminal.seen.count(HIDE) == terminal.seen.count(SHOW) == 1
    tables = terminal.seen[terminal.seen.index(SHOW) :]
    assert b"Wrote summary.json" in tables and b"simulated s/s" not in tables


def test_ctrl_c_leaves_the_terminal_whole(scenario: Path) -> None:
    scenario.write_text(SCENARIO.format(1_000_000))
    terminal = Terminal([sys.executable, "-m", "vmem", "run", str(scenario), "--live"], scenario.parent)
    terminal.read_until(b"web-2")
    os.write(terminal.master, b"\x03")
    assert terminal.finish() == 130
    last = terminal.seen[terminal.seen.rindex(SHOW) :]
    assert HIDE not in last and b"Interrupted: after " in last and b"Traceback" not in terminal.seen
    assert [path.name for path in scenario.parent.iterdir()] == ["small.toml"]


def test_without_a_terminal(scenario: Path) -> None:
    """It says so, and is a run like any other."""
    scenario.write_text(SCENARIO.format(1))
    command = [sys.executable, "-m", "vmem", "run", str(scenario), "--live", "--json", "numbers.json"]
    done = subprocess.run(command, cwd=scenario.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr and "Wrote summary.json" in done.stdout
    assert done.stderr == "Note: --live shows nothing: standard output is not a terminal.\n"
    assert json.loads((scenario.parent / "numbers.json").read_text())["scenario"] == "small"
