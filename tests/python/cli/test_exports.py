"""What a run writes for other programs: trace events for Perfetto, tables as Parquet."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from click.testing import Result as Ran

from vmem.columns import to_csv, to_parquet
from vmem.events import Event
from vmem.policies import PolicyRow
from vmem.rows import HostRow, Row
from vmem.runner import Result, Runner
from vmem.scenario import Scenario
from vmem.timed import TimedRunner
from vmem.trace_events import HOST, trace_events

SCENARIO = """
[host]
memory = "96MiB"
swap = "128MiB"
[policy]
name = "own.py:Moody"
interval = "500ms"
[[vm]]
name = "web"
count = 2
memory = "64MiB"
[[vm.process]]
workload = { kind = "uniform", size = "50MiB", compute = "100us" }
[[vm]]
name = "bare"
memory = "4MiB"
mmu = "native"
[[vm.process]]
workload = { kind = "uniform", size = "1MiB", compute = "100us" }
[run]
duration = "4s"
slowdown = false
steps = 8
"""
MOODY = """
class Moody:
    def decide(self, host, vms):
        return {"nobody": 1, **{vm.name: vm.memory - (host.now // 10**9 % 3 << 23) for vm in vms}}
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    directory = tmp_path_factory.mktemp("run")
    (directory / "own.py").write_text(MOODY)
    return TimedRunner(Scenario.parse(SCENARIO, base=directory)).run()


@pytest.fixture
def events(result: Result) -> list[dict[str, Any]]:
    document = json.loads(trace_events(result))
    assert set(document) == {"traceEvents", "displayTimeUnit", "otherData"}
    return list(document["traceEvents"])


def _of(events: list[dict[str, Any]], phase: str, **values: object) -> list[dict[str, Any]]:
    wanted = {"ph": phase, **values}
    return [event for event in events if wanted.items() <= event.items()]


def test_trace_events_have_the_format_s_form(events: list[dict[str, Any]]) -> None:
    """Trace Event Format: what each phase must have, and what its values may be."""
    assert {event["ph"] for event in events} == {"M", "C", "i"}
    for event in events:
        assert isinstance(event["name"], str) and isinstance(event["pid"], int)
        assert isinstance(event["tid"], int) and isinstance(event["args"], dict)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name")
            continue
        assert isinstance(event["ts"], int | float) and event["ts"] >= 0
        if event["ph"] == "C":
            assert event["args"] and all(type(value) in (int, float) for value in event["args"].values())
        else:
            assert event["s"] == "t" and event["cat"] in ("event", "policy")


def test_times_are_microseconds_and_ascend(events: list[dict[str, Any]], result: Result) -> None:
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(max(row.time_ns for row in result.host) / 1000)
    assert _of(events, "M") == events[: len(_of(events, "M"))]  # names come before what they name


def test_every_process_and_track_is_named(events: list[dict[str, Any]]) -> None:
    named = {event["pid"]: event["args"]["name"] for event in _of(events, "M", name="process_name")}
    assert named == {1: "host of scenario", 2: "VM web-1", 3: "VM web-2", 4: "VM bare"}
    assert {event["pid"] for event in events} == set(named)
    tracks = {(event["pid"], event["tid"]) for event in _of(events, "M", name="thread_name")}
    assert {(event["pid"], event["tid"]) for event in _of(events, "i")} <= tracks


def test_every_event_of_the_run_is_there(events: list[dict[str, Any]], result: Result) -> None:
    kinds = Counter(event.kind for event in result.events)
    assert {"balloon_target", "oom_kill"} <= set(kinds)
    found = _of(events, "i", cat="event")
    assert Counter(event["name"] for event in found) == kinds
    pids = {"web-1": 2, "web-2": 3, "bare": 4}
    told = [(event["ts"], event["name"], event["pid"], event["args"]) for event in found]
    assert told == [
        (
            event.at / 1000,
            event.kind,
            pids.get(event.subject, HOST),
            {"subject": event.subject, **event.numbers},
        )
        for event in sorted(result.events, key=lambda event: event.at)
    ]


def test_every_decision_is_there(events: list[dict[str, Any]], result: Result) -> None:
    changed = [row for row in result.policy if row.wanted is not None]
    found = _of(events, "i", name="target changed")
    assert [(e["ts"] * 1000, e["args"]["bytes"]) for e in found] == [
        (pytest.approx(row.time_ns), row.wanted) for row in changed
    ]
    decisions = _of(events, "i", name="decision")
    assert len(decisions) == result.summary["policy"]["decisions"] > 5
    assert sum(event["args"]["changes"] for event in decisions) == len(changed) > 0
    assert len(_of(events, "i", name="incident")) == result.summary["policy"]["incidents"] > 5


def test_counters_are_those_of_the_timeline(events: list[dict[str, Any]], result: Result) -> None:
    for pid, name in ((2, "web-1"), (3, "web-2"), (4, "bare")):
        rows = [row for row in result.timeline if row.vm == name]
        memory = _of(events, "C", pid=pid, name="memory, MiB")
        assert [event["args"]["resident"] * 2**20 for event in memory] == [r.resident_bytes for r in rows]
        exits = _of(events, "C", pid=pid, name="exits in the step")
        assert sum(event["args"]["exits"] for event in exits) == sum(row.exits for row in rows)
        passed = [now.time_ns - before.time_ns for before, now in pairwise(rows)]
        shares = [event["args"]["running"] for event in _of(events, "C", pid=pid, name="vCPUs")]
        ran = [share * length for share, length in zip(shares, passed, strict=True)]
        assert ran == pytest.approx([row.running_ns for row in rows[1:]])
    for event in _of(events, "C", pid=HOST, name="memory, MiB"):
        assert sum(event["args"].values()) <= 96


def test_a_subject_that_is_no_vm_is_on_the_host_s_track(result: Result) -> None:
    killed = Event(5_000, "oom_kill", "app", {"pid": 7})
    told = json.loads(trace_events(Result(result.scenario, result.summary, [], [], events=[killed])))
    (event,) = _of(told["traceEvents"], "i", cat="event")
    assert event["pid"] == HOST and event["ts"] == 5 and event["args"] == {"subject": "app", "pid": 7}


def test_a_run_by_references_has_counters_too(small: Path) -> None:
    told = json.loads(trace_events(Runner(Scenario.load(small)).run()))["traceEvents"]
    times = [event["ts"] for event in told if event["ph"] != "M"]
    assert times == sorted(times) and len(_of(told, "C", name="memory, MiB")) == 11 * 4


def test_parquet_has_the_rows_of_csv(result: Result) -> None:
    for kind, rows in ((Row, result.timeline), (HostRow, result.host), (PolicyRow, result.policy)):
        table = pyarrow.parquet.read_table(io.BytesIO(to_parquet(kind, rows)))
        assert tuple(table.column_names) == kind.__struct_fields__
        lines = to_csv(kind, rows).decode().splitlines()
        cells = [["" if value is None else str(value) for value in row.values()] for row in table.to_pylist()]
        assert [",".join(row) for row in cells] == lines[1:]
        empty = pyarrow.parquet.read_table(io.BytesIO(to_parquet(kind, [])))
        assert empty.schema == table.schema  # of every run the same


def test_the_command_writes_them(vmem_command: Callable[..., Ran], small: Path, tmp_path: Path) -> None:
    trace, out = tmp_path / "trace.json", tmp_path / "out"
    ran = vmem_command("run", small, "--out", out, "--parquet", "--trace-events", trace)
    assert ran.exit_code == 0, ran.output
    assert json.loads(trace.read_text())["traceEvents"]
    assert {"timeline.parquet", "host.parquet", "timeline.csv"} <= {path.name for path in out.iterdir()}
    wrong = vmem_command("run", small, "--out", tmp_path / "o", "--trace-events", tmp_path / "no" / "t.json")
    assert wrong.exit_code == 2 and "no such directory" in wrong.output
    assert not (tmp_path / "o").exists()


def test_parquet_without_pyarrow(
    vmem_command: Callable[..., Ran], small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said before anything runs."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for command in (("run", small), ("sweep", small, "--grid", "seed=1")):
        ran = vmem_command(*command, "--out", tmp_path / "o", "--parquet")
        assert ran.exit_code == 1 and ran.stderr.startswith("Error: --parquet: pyarrow is not installed")
        assert not (tmp_path / "o").exists()
