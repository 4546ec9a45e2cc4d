"""`vmem run`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from vmem.rows import TIMELINE
from vmem.scenario import Scenario

Command = Callable[..., Result]


@pytest.fixture
def ran(vmem_command: Command, small: Path, tmp_path: Path) -> tuple[Result, Path]:
    """The small scenario, run: (what it printed, its directory)."""
    out = tmp_path / "out"
    result = vmem_command("run", small, "--out", out)
    assert result.exit_code == 0
    return result, out


def _summary(out: Path) -> dict[str, Any]:
    loaded = json.loads((out / "summary.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / "timeline.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_writes_four_files_and_nothing_else(ran: tuple[Result, Path]) -> None:
    result, out = ran
    assert {path.name for path in out.iterdir()} == {
        *("summary.json", "timeline.csv", "host.csv", "report.html")
    }
    assert f"Wrote summary.json, timeline.csv, host.csv, report.html to {out}" in result.stdout.replace(
        "\n", ""
    )


def test_prints_every_vm(ran: tuple[Result, Path]) -> None:
    result, out = ran
    for vm in _summary(out)["vms"]:
        lines = [line.split() for line in result.stdout.splitlines() if line.startswith(vm["name"])]
        assert len(lines) == 2
        translation = lines[0][-7:]
        assert translation[1] == f"{vm['rates']['l1_hit_rate']:.2%}"
        assert translation[2] == f"{vm['rates']['l2_hit_rate']:.2%}"
        assert lines[1][-2 - 2 * (vm["mmu"] != "native")] != ""
    assert "nested 4KiB" in result.stdout


def test_fits_80_columns(ran: tuple[Result, Path], vmem_command: Command, tmp_path: Path) -> None:
    built_in = vmem_command("run", "--limit", 1000, "--out", tmp_path / "built-in")
    for result in (ran[0], built_in):
        lines = [line.rstrip() for line in result.stdout.splitlines() if not line.startswith("Wrote")]
        assert max(map(len, lines)) <= 80
        assert "…" not in result.stdout


def test_built_in_scenario_runs_native_and_nested(vmem_command: Command, tmp_path: Path) -> None:
    result = vmem_command("run", "--limit", 200_000, "--out", tmp_path / "out")
    assert result.exit_code == 0 and result.stderr == ""
    vms = _summary(tmp_path / "out")["vms"]
    assert len(vms) >= 4
    assert {vm["mmu"] for vm in vms} == {"native", "nested"}
    assert {vm["backing"] for vm in vms if vm["mmu"] == "nested"} >= {"4KiB", "2MiB"}
    assert all(process["references"] == 200_000 for vm in vms for process in vm["processes"])
    programs: dict[str, set[str]] = {}
    for vm in vms:
        for process in vm["processes"]:
            programs.setdefault(process["program"], set()).add(vm["mmu"])
    assert {"native", "nested"} in programs.values()


def test_summary_schema(ran: tuple[Result, Path]) -> None:
    """Keys that others rely on: taking one away or changing its meaning needs a new `schema`."""
    summary = _summary(ran[1])
    assert summary["schema"] == 1
    assert set(summary) == {
        *("schema", "vmem", "scenario", "steps", "references_per_step", "elapsed_ns", "host"),
        *("costs", "vms"),
    }
    assert set(summary["host"]) == {
        *("cpu", "cpus", "ghz", "seed", "memory_bytes", "free_bytes", "table_bytes", "committed_bytes"),
        *("swap_bytes", "swap_used_bytes", "process_bytes", "state", "stat"),
    }
    for vm in summary["vms"]:
        assert set(vm) == {
            *("name", "group", "mmu", "sync", "software_tlb", "backing", "memory_bytes", "vcpus", "cpu"),
            *("running_ns", "waiting_ns", "runnable_ns"),
            *("references", "swapped_bytes", "resident_bytes", "guest_used_bytes", "processes"),
            *("rates", "cycles_by_cause", "counters", "balloon_bytes", "vmstat", "pressure", "killed"),
        }
        for process in vm["processes"]:
            assert set(process) == {"name", "program", "page", "runs", "references", "segfaults", "ended"}


def test_timeline_adds_up_to_the_summary(ran: tuple[Result, Path]) -> None:
    summary, rows = _summary(ran[1]), _rows(ran[1])
    assert tuple(rows[0]) == TIMELINE
    assert len(rows) == (summary["steps"] + 1) * len(summary["vms"])
    for vm in summary["vms"]:
        mine = [row for row in rows if row["vm"] == vm["name"]]
        assert [int(row["step"]) for row in mine] == list(range(summary["steps"] + 1))
        counters = vm["counters"]

        def total(column: str, mine: list[dict[str, str]] = mine) -> int:
            return sum(int(row[column]) for row in mine)

        assert total("references") == vm["references"] == counters["accesses"]
        assert total("l1_hits") == counters["l1i_hits"] + counters["l1d_hits"]
        for column in ("l2_hits", "tlb_misses", "walks", "walk_refs_guest", "walk_refs_host", "cycles"):
            assert total(column) == counters[column]
        assert total("guest_faults") == counters["faults.guest_page_fault"]
        hidden = sum(value for name, value in counters.items() if name.startswith("faults."))
        assert total("host_faults") == hidden - counters["faults.guest_page_fault"]
        assert total("exits") == sum(value for name, value in counters.items() if name.startswith("exits."))
        assert int(mine[-1]["resident_bytes"]) == vm["resident_bytes"]
        assert int(mine[0]["references"]) == 0


def test_equal_seeds_give_equal_bytes(
    ran: tuple[Result, Path], vmem_command: Command, small: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    assert vmem_command("run", small, "--out", again).exit_code == 0
    for name in ("summary.json", "timeline.csv", "report.html"):
        assert (ran[1] / name).read_bytes() == (again / name).read_bytes()
    small.write_text(small.read_text().replace("[host]", "[host]\nseed = 2"))
    assert vmem_command("run", small, "--out", again).exit_code == 0
    assert _summary(ran[1])["vms"][0]["counters"] != _summary(again)["vms"][0]["counters"]


def test_json_is_the_summary(vmem_command: Command, small: Path, tmp_path: Path) -> None:
    target = tmp_path / "numbers.json"
    assert vmem_command("run", small, "--out", tmp_path / "out", "--json", target).exit_code == 0
    assert target.read_bytes() == (tmp_path / "out" / "summary.json").read_bytes()


def test_limit_replaces_the_scenarios(vmem_command: Command, small: Path, tmp_path: Path) -> None:
    assert vmem_command("run", small, "--out", tmp_path / "out", "--limit", 500).exit_code == 0
    processes = [process for vm in _summary(tmp_path / "out")["vms"] for process in vm["processes"]]
    assert {process["references"] for process in processes} == {500}


def test_check_writes_nothing(vmem_command: Command, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = vmem_command("run", small, "--out", out, "--check")
    assert result.exit_code == 0
    assert "good; 3 VMs, 5 processes, 380,000 references" in result.stdout
    assert not out.exists()
    assert "the built-in scenario: good" in vmem_command("run", "--check").stdout


def test_check_finds_what_is_wrong(vmem_command: Command, small: Path) -> None:
    small.write_text(small.read_text().replace('"64MiB"\nvcpus = 2', '"64MiB"\nvcpus = 0'))
    result = vmem_command("run", small, "--check")
    assert result.exit_code == 1
    assert result.stderr == f"Error: {small}: vm[1].vcpus: 0; accepted is a number of vCPUs from 1 to 255\n"


def test_missing_scenario(vmem_command: Command, tmp_path: Path) -> None:
    result = vmem_command("run", tmp_path / "none.toml", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "none.toml: No such file or directory; accepted is a scenario, a TOML file" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_output_that_cannot_be(vmem_command: Command, small: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    result = vmem_command("run", small, "--out", tmp_path / place)
    assert result.exit_code != 0
    assert "file" in result.stderr and "directory" in result.stderr.lower()
    assert (tmp_path / "file").read_text() == "in the way"


def test_json_where_no_directory_is(vmem_command: Command, small: Path, tmp_path: Path) -> None:
    result = vmem_command("run", small, "--out", tmp_path / "out", "--json", tmp_path / "no" / "x.json")
    assert result.exit_code == 2
    assert "no such directory" in result.stderr
    assert not (tmp_path / "out").exists()


def test_without_plotly(
    vmem_command: Command, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("plotly", "vmem.report."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    result = vmem_command("run", small, "--out", tmp_path / "out")
    assert result.exit_code == 0
    notes = [line for line in result.stdout.splitlines() if line.startswith("No report")]
    assert notes == ["No report.html: it needs plotly, which is not installed (pip install plotly)."]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "summary.json",
        "timeline.csv",
        "host.csv",
    }


def test_an_error_while_running_leaves_nothing(
    vmem_command: Command, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trace that turns out to be damaged halfway."""
    from vmem.traces import shipped

    whole = shipped()["sort"].read_bytes()
    damaged = tmp_path / "damaged.vmt"
    damaged.write_bytes(whole[: len(whole) // 2] + bytes(200) + whole[len(whole) // 2 + 200 :])
    small.write_text(small.read_text().replace('"sort"', '"damaged.vmt"').replace("limit = 100_000", ""))
    result = vmem_command("run", small, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "damaged.vmt" in result.stderr and "(at byte " in result.stderr
    assert not (tmp_path / "out").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"small.toml", "damaged.vmt"}


@pytest.mark.parametrize(
    ("host", "guest", "why"),
    [
        ("64MiB", "8MiB", "its guest is out of memory"),
        ("6MiB", "64MiB", "the host has no memory left for"),
    ],
)
def test_what_is_out_of_memory_is_stopped_and_the_rest_goes_on(
    vmem_command: Command, tmp_path: Path, host: str, guest: str, why: str
) -> None:
    scenario = tmp_path / "tight.toml"
    scenario.write_text(
        f'[host]\nmemory = "{host}"\n[[vm]]\nname = "small"\nmemory = "1MiB"\n'
        '[[vm.process]]\nworkload = { kind = "sequential", size = "64KiB", references = 1_000_000 }\n'
        f'[[vm]]\nname = "tight"\nmemory = "{guest}"\n[[vm.process]]\ntrace = "bfs"\nrepeat = 2\n'
    )
    result = vmem_command("run", scenario, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: VM 'tight', process 'bfs': stopped after")
    assert why in result.stderr
    assert result.stderr.count("\n") == 1
    small, tight = _summary(tmp_path / "out")["vms"]
    assert small["processes"][0]["ended"] == "finished" and small["references"] == 1_000_000
    assert why in tight["processes"][0]["ended"]
    assert tight["processes"][0]["runs"] == 1
    assert 0 < tight["references"] < 15_000_000
    assert tight["references"] == tight["counters"]["accesses"]


def test_scenario_name_is_the_files(ran: tuple[Result, Path], small: Path) -> None:
    assert _summary(ran[1])["scenario"] == "small" == Scenario.load(small).name
