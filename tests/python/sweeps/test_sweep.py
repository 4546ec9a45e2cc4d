"""`vmem sweep` and `vmem plan`: grids, workers that fail, interruptions, tables, and ratios to be found."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

import vmem
from vmem.cli import main
from vmem.scenario import Scenario
from vmem.sweep.answers import MEANING, answers
from vmem.sweep.grid import Base, Settings, parse_grid
from vmem.sweep.journal import Journal
from vmem.sweep.objective import parse_objectives
from vmem.sweep.plan import search
from vmem.sweep.point import Outcome, run_point
from vmem.sweep.spread import Spread
from vmem.sweep.table import to_csv
from vmem.timed import TimedRunner


def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


def test_grids_are_products_in_order() -> None:
    grid = parse_grid(["policy=esx,none", "ratio=1.5", "seed=1..3", "vm.0.mmu=nested"])
    assert len(grid) == 6 and [settings["seed"] for settings in grid[:4]] == [1, 2, 3, 1]
    assert grid[0] == {"policy": "esx", "ratio": 1.5, "seed": 1, "vm.0.mmu": "nested"}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("plicy=esx", "accepted is key=value"),
        ("ratio", "accepted is key=value"),
        ("ratio=", "one or more values"),
        ("seed=3..1", "a range such as 1..8"),
        ("seed=1,1", "a value is there twice"),
        ("seed=1..1000000", "a range"),
    ],
)
def test_bad_grids(word: str, said: str) -> None:
    with pytest.raises(vmem.ConfigError, match=said):
        parse_grid([word])


def test_settings_reach_the_scenario(scenario: Path) -> None:
    base = Base.read(scenario)
    made = base.scenario({"policy": "esx", "ratio": 2, "seed": 7, "policy.tax": 0.5, "vm.0.memory": "32MiB"})
    assert made.host.seed == 7 and made.host.memory == 32 << 20
    assert made.policy is not None and made.policy.rules.name == "esx"
    assert base.scenario({}).host.memory == 96 << 20 and base.scenario({"policy": "none"}).policy is None
    for settings, said in (
        ({"vm.0.memry": 1}, r"vm\[0\].memry: unknown key"),
        ({"vm.5.memory": 1}, "has no vm.5"),
        ({"policy": "exs"}, "policy.name: 'exs'"),
        ({"ratio": -1}, "ratio: -1; accepted"),
    ):
        with pytest.raises(vmem.ConfigError, match=said):
            base.scenario(settings)  # type: ignore[arg-type]


def test_a_point_is_the_run_that_vmem_run_makes(scenario: Path) -> None:
    outcome = run_point(Base.read(scenario), {"seed": 1})
    assert outcome.error is None
    assert outcome.numbers == answers(TimedRunner(Scenario.load(scenario)).run())
    assert set(outcome.numbers) == set(MEANING)
    assert outcome.numbers["ratio"] == pytest.approx(128 / 96) and outcome.numbers["vms"] == 2
    assert outcome.numbers["stall"] == 0 < outcome.numbers["access_p50_ns"]
    short = run_point(Base.read(scenario), {"ratio": 2.5})
    assert 0 < short.numbers["stall"] <= short.numbers["stall_worst"] <= short.numbers["stall_peak"] <= 1
    assert short.numbers["host_swapped_in"] > 0


class Flaky:
    """Fails the first times that it is asked, for each of the settings."""

    def __init__(self, times: int) -> None:
        self.times, self.asked = times, dict[str, int]()

    def __call__(self, base: Base, settings: Settings) -> Outcome:
        count = self.asked[str(settings)] = self.asked.get(str(settings), 0) + 1
        if count <= self.times:
            raise OSError("the worker\nlost its way")
        return Outcome(settings, {"stall": 0.5}, None, 0.0)


def test_failed_runs_are_tried_again_and_finished_ones_kept(scenario: Path, tmp_path: Path) -> None:
    base, grid = Base.read(scenario), parse_grid(["seed=1..4"])
    flaky = Flaky(2)
    spread = Spread(base, threads, Journal(tmp_path / "j", base), run=flaky)
    outcomes = spread.outcomes(grid)
    assert [outcome.settings["seed"] for outcome in outcomes] == [1, 2, 3, 4]
    assert all(outcome.error is None for outcome in outcomes) and set(flaky.asked.values()) == {3}
    hopeless = Spread(base, threads, Journal(tmp_path / "k", base), run=Flaky(99)).outcomes(grid[:1])
    assert hopeless[0].error == "failed 3 times: OSError: the worker lost its way"
    assert Journal(tmp_path / "k", base).find(grid[0]) is None  # worth another try another day


def test_an_interrupted_sweep_goes_on(scenario: Path, tmp_path: Path) -> None:
    base, grid = Base.read(scenario), parse_grid(["seed=1..5"])
    made: list[Settings] = []

    def stopping(_: Base, settings: Settings) -> Outcome:
        made.append(settings)
        return Outcome(settings, {"stall": 0.25}, None, 0.0)

    def interrupt(done: int, total: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    spread = Spread(base, threads, Journal(tmp_path / "j", base), run=stopping)
    with pytest.raises(KeyboardInterrupt):
        spread.outcomes(grid, interrupt)
    spread.close()
    with (tmp_path / "j").open("ab") as file:
        file.write(b'{"scenario": "cut off')
    first = len(Journal(tmp_path / "j", base)._done)
    assert first >= 2
    made.clear()
    again = Spread(base, threads, Journal(tmp_path / "j", base), run=stopping).outcomes(grid)
    assert len(again) == 5 and len(made) == 5 - first
    other = Base(base.text + "# changed", base.file, base.directory)
    assert Journal(tmp_path / "j", other).find(grid[0]) is None


NAMES_FILES = """
[host]
memory = "96MiB"
[policy]
name = "own.py:Own"
[[fleet]]
name = "web"
curves = "fleet.csv"
scale = 0.01
least = "16MiB"
[run]
duration = "1s"
"""


@pytest.mark.parametrize("changed", ["fleet.csv", "own.py", "scenario.toml", "curve.csv", "version"])
def test_a_run_is_made_anew_when_anything_that_it_is_made_of_has_changed(
    tmp_path: Path, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scenario, the files that it and the grid name, and vmem."""
    (tmp_path / "fleet.csv").write_text("vm,time,provisioned,used\na,0,1GiB,256MiB\n")
    (tmp_path / "own.py").write_text("class Own:\n    def decide(self, host, vms):\n        return {}\n")
    (tmp_path / "curve.csv").write_text("time,allocated,active\n0,1MiB,1MiB\n")
    (tmp_path / "scenario.toml").write_text(NAMES_FILES)

    def journal() -> Journal:
        return Journal(tmp_path / "j", Base.read(tmp_path / "scenario.toml"))

    settings: Settings = {"seed": 1, "vm.0.process.0.workload.curve": "curve.csv"}
    journal().add(Outcome(settings, {"stall": 0.0}, None, 0.0))
    assert journal().find(settings) is not None
    if changed == "version":
        monkeypatch.setattr("vmem.sweep.sources.__version__", "another")
    else:
        with (tmp_path / changed).open("a") as file:
            file.write("\n")
    assert journal().find(settings) is None


def dies_once(base: Base, settings: Settings) -> Outcome:
    """Takes its whole process with it the first time."""
    marker = Path(base.directory) / f"died-{settings['seed']}"
    if settings["seed"] == 2 and not marker.exists():
        marker.touch()
        os._exit(1)
    return Outcome(settings, {"stall": 0.0}, None, 0.0)


def test_a_pool_that_breaks_is_replaced(scenario: Path) -> None:
    import multiprocessing

    context = multiprocessing.get_context("fork")
    spread = Spread(Base.read(scenario), lambda: ProcessPoolExecutor(1, mp_context=context), run=dies_once)
    outcomes = spread.outcomes(parse_grid(["seed=1..3"]))
    spread.close()
    assert [outcome.error for outcome in outcomes] == [None] * 3


def test_the_command_writes_a_tidy_table_twice_the_same(scenario: Path, tmp_path: Path) -> None:
    arguments = ["sweep", str(scenario), "--grid", "policy=none,static,ratio=1,2.5", "--workers", "1"]
    ran = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    table = (tmp_path / "out" / "sweep.csv").read_bytes()
    rows = list(csv.DictReader(table.decode().splitlines()))
    assert list(rows[0]) == ["policy", "grid_ratio", *MEANING, "error"]
    assert [(row["policy"], row["grid_ratio"]) for row in rows] == [
        ("none", "1"),
        ("none", "2.5"),
        ("static", "1"),
        ("static", "2.5"),
    ]
    assert float(rows[1]["stall"]) > float(rows[0]["stall"]) == 0
    assert float(rows[3]["ballooned_mean"]) > 0.2
    again = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out")])
    assert again.exit_code == 0 and (tmp_path / "out" / "sweep.csv").read_bytes() == table
    base, grid = Base.read(scenario), parse_grid(["policy=none,static", "ratio=1,2.5"])
    assert to_csv([run_point(base, settings) for settings in grid]) == table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grid", "seed=x"], "seed"),
        (["--grid", "vm.0.size=1"], "vm[0].size: unknown key"),
        (["--grid", "seed=1", "--dask", "tcp://127.0.0.1:1"], "--dask"),
        (["--grid", "seed=1", "--dask", "x", "--workers", "1"], "--workers"),
    ],
)
def test_errors_of_the_command(scenario: Path, arguments: list[str], said: str, tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["sweep", str(scenario), "--out", str(tmp_path / "o"), *arguments])
    assert ran.exit_code == 1 and said in ran.output and "Traceback" not in ran.output
    assert ran.output.count("\n") == 1


def test_a_search_finds_the_edge() -> None:
    def run_up_to(edge: float) -> Callable[..., list[Outcome]]:
        return lambda grid: [Outcome(s, {"stall": 0.0 if s["ratio"] <= edge else 1.0}, None, 0) for s in grid]

    ratios = [round(1 + i * 0.1, 6) for i in range(31)]
    for edge, ratio, limit in ((1.75, 1.7, 1.8), (9, 4.0, None), (0.5, None, 1.0)):
        plan = search(ratios, [{"seed": i} for i in range(5)], parse_objectives("stall<1%"), run_up_to(edge))
        assert (plan.ratio, plan.limit) == (ratio, limit)
        assert len(plan.tried) <= 5
    assert plan.certainty == 0
    sure = search([1.0], [{"seed": i} for i in range(59)], parse_objectives("stall<=0"), run_up_to(2))
    assert sure.certainty == pytest.approx(0.95, abs=0.001)  # 59 of 59: the textbook's number


def test_the_plan_command_ends_in_a_sentence(scenario: Path) -> None:
    """2 x 30 MiB are used of 2 x 64 promised: beyond a ratio of 2 or so, it swaps."""
    arguments = [
        "plan",
        str(scenario),
        "--slo",
        "stall<1%",
        "--seeds",
        "2",
        "--least",
        "1.8",
        "--most",
        "2.4",
    ]
    ran = CliRunner().invoke(main, [*arguments, "--step", "0.2", "--workers", "1"])
    assert ran.exit_code == 0, ran.output
    last = " ".join(ran.output.split("\n\n")[-1].split())
    assert "Overcommit up to 2.20 keeps stall<0.01 in 2 of 2 runs; at 2.40 it no longer does." in last
    assert "at least 22% of loads" in last


@pytest.mark.parametrize("slo", ["stall", "stal<1", "stall<x", "stall<1%,", "stall=1"])
def test_bad_objectives(slo: str, scenario: Path) -> None:
    ran = CliRunner().invoke(main, ["plan", str(scenario), "--slo", slo])
    assert ran.exit_code == 1 and "objective" in ran.output and ran.output.count("\n") == 1
