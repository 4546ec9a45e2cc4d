"""Scenarios over time: equal to the Python API, shared CPUs, slowdowns, and what a curve does to a host."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import vmem
from vmem.cli import main
from vmem.report.page import report_html
from vmem.runner import Result
from vmem.scenario import Scenario
from vmem.timed import TimedRunner


def _vm(name: str, *processes: str, **keys: object) -> str:
    lines = [f"{key} = {value!r}" for key, value in {"name": name, "memory": "64MiB", **keys}.items()]
    return "\n".join(["[[vm]]", *lines, *processes, ""])


def _workload(**keys: object) -> str:
    table = ", ".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    return f"[[vm.process]]\nworkload = {{ {table} }}"


ZIPF = _workload(kind="zipf", size="16MiB", writes=0.2)


def _run(text: str, duration: str = "200ms", host: str = "") -> Result:
    return TimedRunner(
        Scenario.parse(f'[host]\nmemory = "1GiB"\n{host}\n{text}\n[run]\nduration = "{duration}"\nsteps = 10')
    ).run()


def _vms(result: Result) -> dict[str, dict[str, Any]]:
    return {vm["name"]: vm for vm in result.summary["vms"]}


def test_same_numbers_as_the_python_api() -> None:
    result = _run(_vm("a", ZIPF))
    host = vmem.Hypervisor("1GiB")
    vm = host.create_vm("a", memory="64MiB")
    workload = vmem.workload("zipf", size="16MiB", writes=0.2)
    vm.guest.spawn().start(workload, seed=workload.stream(1, 0, 0))
    began = host.now
    for step in range(1, 11):
        host.run(began + step * 20_000_000 - host.now)
    assert _vms(result)["a"]["counters"] == vm.counters()
    assert result.summary["elapsed_ns"] == 200_000_000


def test_rows_follow_time_and_add_up() -> None:
    result = _run(_vm("a", ZIPF, count=2), host="cpus = 1")
    assert [row.time_ns for row in result.host] == [row.time_ns for row in result.timeline if row.vm == "a-1"]
    for name, vm in _vms(result).items():
        rows = [row for row in result.timeline if row.vm == name]
        assert len(rows) == 11
        for column in ("running_ns", "waiting_ns", "runnable_ns"):
            assert sum(getattr(row, column) for row in rows) == pytest.approx(
                vm[column], abs=20_000
            )  # a turn's faults may end after its step
        assert sum(row.references for row in rows) == vm["references"] == vm["counters"]["accesses"]
        for row in rows:
            assert row.guest_used_bytes + row.guest_free_bytes > 60 << 20
    for row in result.host:
        # The first frame is nobody's: address 0 stays out of use.
        assert row.free_bytes + row.table_bytes + row.guest_bytes == (1 << 30) - 4096


@pytest.mark.parametrize(("vms", "cpus", "expected"), [(1, 1, 1.0), (2, 1, 2.0), (3, 1, 3.0), (3, 2, 1.5)])
def test_slowdown_of_those_who_share_cpus(vms: int, cpus: int, expected: float) -> None:
    result = _run(_vm("a", ZIPF, count=vms), "600ms", host=f"cpus = {cpus}")
    for vm in _vms(result).values():
        assert vm["slowdown"] == pytest.approx(expected, rel=0.04)


def test_slowdown_of_programs_that_end() -> None:
    program = _workload(kind="uniform", size="1MiB", references=100_000)
    result = _run(_vm("a", program, count=2), "10s", host="cpus = 1")
    assert result.summary["steps"] < 10 and result.summary["elapsed_ns"] < 10**9
    for vm in _vms(result).values():
        assert vm["slowdown"] == pytest.approx(2, rel=0.05)
        assert vm["processes"][0]["ended"] == "finished"


def test_slowdown_of_who_mostly_sleeps_is_of_its_work() -> None:
    curve = [["0s", "8MiB", 0], ["100ms", "16MiB", 0]]
    result = _run(_vm("a", _workload(kind="demand", curve=curve)) + _vm("b", ZIPF), "500ms", host="cpus = 1")
    assert 1 <= _vms(result)["a"]["slowdown"] < 1.2
    assert _vms(result)["b"]["slowdown"] < 1.2


def test_slowdowns_can_be_left_out() -> None:
    result = TimedRunner(
        Scenario.parse(_vm("a", ZIPF) + '[run]\nduration = "10ms"\nslowdown = false\n')
    ).run()
    assert _vms(result)["a"]["slowdown"] is None


def test_traces_and_repeats_and_limits_over_time() -> None:
    sort = '[[vm.process]]\ntrace = "sort"\ncompute = 0\nrepeat = 2'
    scenario = _vm("a", sort) + '[run]\nduration = "100s"\nlimit = 5_000_000\n'
    process = _vms(TimedRunner(Scenario.parse(scenario)).run())["a"]["processes"][0]
    length = vmem.Trace.open("sort").references
    assert process["references"] == min(5_000_000, 2 * length)
    assert process["runs"] == (2 if length < 5_000_000 else 1)


def test_what_a_process_frees_the_host_does_not_get() -> None:
    """The high-water mark: the guest's use falls, its residency does not."""
    curve = [["0s", "4MiB", "1MiB"], ["50ms", "48MiB", "1MiB"], ["100ms", "4MiB", "1MiB"]]
    result = _run(_vm("a", _workload(kind="demand", curve=curve)))
    used = [row.guest_used_bytes >> 20 for row in result.timeline]
    resident = [row.resident_bytes >> 20 for row in result.timeline]
    assert max(used) >= 48 and used[-1] < 6
    assert resident[-1] == max(resident) >= 48


def test_bad_kinds_without_a_duration() -> None:
    with pytest.raises(vmem.ConfigError, match=r'vm\[0\].process\[0\].workload.kind: "fork-churn".*duration'):
        Scenario.parse(_vm("a", _workload(kind="fork-churn", size="1MiB")))


def test_equal_seeds_give_equal_bytes_and_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    curve = tmp_path / "load.csv"
    curve.write_text("time,allocated,active\n0s,1MiB,1MiB\n20ms,8MiB,2MiB\n")
    scenario = tmp_path / "timed.toml"
    scenario.write_text(
        "[host]\ncpus = 1\n"
        + _vm("a", ZIPF, _workload(kind="demand", curve="load.csv"))
        + _vm("b", _workload(kind="fork-churn", size="1MiB", references=100), count=2)
        + '[run]\nduration = "50ms"\nsteps = 5\n'
    )
    for out in ("one", "two"):
        ran = CliRunner().invoke(main, ["run", str(scenario), "--out", str(tmp_path / out)])
        assert ran.exit_code == 0, ran.output
    for name in ("summary.json", "timeline.csv", "host.csv", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert "slowdown" in ran.stdout and "physical CPU" in ran.stdout
    assert max(len(line) for line in ran.stdout.splitlines() if not line.startswith("Wrote")) <= 80
    text = (tmp_path / "one" / "report.html").read_text()
    assert 'id="chart-host"' in text and 'id="chart-stall"' in text
    with (tmp_path / "one" / "host.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 6
    check = CliRunner().invoke(main, ["run", str(scenario), "--check"])
    assert "3 VMs, 4 processes, 50 ms" in check.stdout


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    runner = TimedRunner(Scenario.parse(_vm("a", ZIPF, count=2) + '[run]\nduration = "400ms"\n'))
    result = runner.run(lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1] == (800_000_000, 800_000_000)
    assert report_html(result).count("slowdown") > 0
