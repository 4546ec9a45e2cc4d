"""`vmem serve` as it is used: the guide's conversation, its ends, one clear message for what it cannot do."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from vmem.cli import main
from vmem.qmp.simulation import Simulation
from vmem.scenario import Scenario

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "qmp.md").read_text()
SMALL = """
[host]
memory = "256MiB"
[[vm]]
name = "a"
memory = "64MiB"
[[vm.process]]
workload = { kind = "uniform", size = "8MiB", compute = "100us" }
"""
PLAIN = """
[[vm]]
name = "plain"
memory = "64MiB"
balloon = false
[[vm.process]]
trace = "sort"
[[vm]]
name = "bare"
memory = "64MiB"
mmu = "native"
[[vm.process]]
trace = "sort"
"""


def block(language: str, number: int = 0) -> str:
    """A code block of the guide."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)[number]


class Serving:
    """A server that has said that it is ready."""

    def __init__(self, process: subprocess.Popen[str], sockets: list[Path]) -> None:
        self.process, self.sockets = process, sockets

    def end(self, number: signal.Signals | None = None) -> tuple[int, str, str]:
        """Its status, and what it said since it was ready."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate()
        return self.process.returncode, out, err


@contextmanager
def serving(directory: Path, scenario: str, *options: str) -> Iterator[Serving]:
    (directory / "scenario.toml").write_text(scenario)
    (directory / "sockets").mkdir()
    command = [sys.executable, "-m", "vmem", "serve", "scenario.toml", "--dir", "sockets", *options]
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            head = process.stdout.readline()
            match = re.match(r"Serving (\d+) VMs", head)
            assert match is not None, head + process.communicate()[1]
            lines = [process.stdout.readline() for _ in range(int(match[1]))]
            yield Serving(process, [directory / line.strip() for line in lines])
        finally:
            process.kill()
    assert list((directory / "sockets").iterdir()) == []


def talk(path: Path, *lines: str) -> list[str]:
    """What a server says in answer to these lines, after its greeting, until each has its reply."""
    said = []
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        with client.makefile("rw", newline="") as stream:
            assert "QMP" in stream.readline()
            for line in lines:
                stream.write(line + "\n")
                stream.flush()
                while True:
                    said.append(stream.readline())
                    if '"event"' not in said[-1]:
                        break
    return said


def shape(text: str) -> str:
    return re.sub(r"\d+", "0", text.strip())


def test_the_conversation_of_the_guide(tmp_path: Path) -> None:
    lines = [line for line in block("text", 1).splitlines() if line]
    assert lines[0].startswith('  {"QMP"')
    with serving(tmp_path, block("toml"), "--rate", "10") as server:
        assert [path.name for path in server.sockets] == ["web.qmp"]
        for path in server.sockets:
            said = talk(path, *(line[2:] for line in lines if line.startswith("→")))
            # The guide shows all that can be said; how much of it comes before the end is a matter of time.
            rest = iter([shape(line) for line in lines[1:] if not line.startswith("→")])
            assert all(any(shape(line) == other for other in rest) for line in said)
            assert said[0] == said[-1] == '{"return": {}}\r\n'
            assert "SHUTDOWN" in said[-2] and '"actual"' in said[-3]
        status, out, err = server.end()
    assert status == 0 and out.startswith("All VMs have quit, after ")
    assert "Traceback" not in err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_cleanly(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """Clients hear of it, sockets go away, one line says how far it came."""
    with serving(tmp_path, SMALL) as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(server.sockets[0]))
            with client.makefile("rw", newline="") as stream:
                stream.readline()
                stream.write('{"execute": "qmp_capabilities"}\n')
                stream.flush()
                assert stream.readline() == '{"return": {}}\r\n'
                server.process.send_signal(number)
                (event,) = stream.readlines()
        assert json.loads(event)["data"] == {"guest": False, "reason": "host-signal"}
        ended, out, err = server.end()
    assert ended == status and out == ""
    (line,) = [line for line in err.splitlines() if line and not line.startswith("Warning: simulated time")]
    assert re.fullmatch(r"(Interrupted|Terminated): after .* of simulated time\.", line)


def test_who_has_a_balloon() -> None:
    simulation = Simulation.of(Scenario.parse(SMALL + PLAIN))
    assert [machine.name for machine in simulation.machines] == ["a", "plain", "bare"]
    assert [machine.name for machine in simulation.machines if machine.has_balloon] == ["a"]
    simulation.advance(10**7)
    assert all(machine.vm.time().references > 0 for machine in simulation.machines)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rate", "0"], "--rate: 0.0; accepted are simulated seconds a second from 0.000001 to 1000"),
        (["--rate", "-1"], "--rate: -1.0; accepted"),
        (["--rate", "nan"], "--rate: nan; accepted"),
        (["--rate", "inf"], "--rate: inf; accepted"),
        (["--dir", "nowhere"], "--dir: 'nowhere'; accepted is a directory that exists"),
        (["--dir", "/proc"], "/proc/a.qmp: "),
        (["--dir", "d" * 120], "accepted are sockets' paths of at most 107"),
        (["--dir", "scenario.toml"], "--dir: 'scenario.toml'; accepted is a directory that exists"),
    ],
)
def test_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scenario.toml").write_text(SMALL)
    result = CliRunner().invoke(main, ["serve", "scenario.toml", "--dir", ".", *options])
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr.startswith("Error: ") and message in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["scenario.toml"]


def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["x.toml"], ["--dir", "."], ["x.toml", "--dir", ".", "--rate", "fast"]):
        assert CliRunner().invoke(main, ["serve", *arguments]).exit_code == 2
    result = CliRunner().invoke(main, ["serve", "x.toml", "--dir", "."])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_host_too_small_for_its_vms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known before there is any socket."""
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(SMALL.replace('"64MiB"', '"200MiB"\nmmu = "native"\ncount = 2'))
    result = CliRunner().invoke(main, ["serve", "x.toml", "--dir", "."])
    assert (result.exit_code, result.stderr.count("\n"), result.stdout) == (1, 1, "")
    assert [path.name for path in tmp_path.iterdir()] == ["x.toml"]
