"""Long runs first: processors are busy to the end, whatever the grid's order. No clock: time is counted."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vmem.sweep.executors import processes
from vmem.sweep.grid import Base, Settings, parse_grid
from vmem.sweep.order import Order
from vmem.sweep.point import Outcome
from vmem.sweep.spread import Spread

POLICY = {"none": 1.0, "static": 1.2, "mom": 2.0, "esx": 8.0}
"""Seconds of a run under each policy; the longest ones are the last of the grid."""


def took(settings: Settings) -> float:
    """A run takes longer where memory is short, and a little by its seed."""
    return POLICY[str(settings["policy"])] * float(settings["ratio"]) * (1 + 0.02 * int(settings["seed"]))


@pytest.fixture
def grid() -> list[Settings]:
    return parse_grid([f"policy={','.join(POLICY)}", "ratio=1,2,3,4", "seed=1..4"])


def busy(grid: list[Settings], workers: int, take: Callable[[Order], int]) -> float:
    """Share of the workers' time that is spent in runs, when each begins another as soon as it is done."""
    order = Order(grid)
    order.add(range(len(grid)))
    running: list[tuple[float, int]] = []
    now = spent = 0.0
    while order or running:
        while order and len(running) < workers:
            i = take(order)
            heapq.heappush(running, (now + took(grid[i]), i))
            spent += took(grid[i])
        now, i = heapq.heappop(running)
        order.learn(grid[i], took(grid[i]))
    return spent / (now * workers)


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_64_runs_keep_all_processors_busy(grid: list[Settings], workers: int) -> None:
    assert len(grid) == 64
    assert busy(grid, workers, Order.longest) >= 0.9


def test_the_order_of_the_grid_would_not(grid: list[Settings]) -> None:
    late = sorted(grid, key=lambda settings: int(settings["seed"]))  # a long run is the last one of all
    assert busy(late, 8, Order.first) < 0.87
    assert busy(late, 8, Order.longest) >= 0.9


def test_each_value_is_tried_once_before_a_second_time(grid: list[Settings]) -> None:
    order = Order(grid)
    order.add(range(len(grid)))
    first = [grid[order.longest()] for _ in range(4)]
    assert {str(settings["policy"]) for settings in first} == set(POLICY)
    assert {settings["ratio"] for settings in first} == {1, 2, 3, 4}


def test_what_was_learned_is_exact_where_effects_multiply(grid: list[Settings]) -> None:
    order = Order(grid)
    for settings in grid:
        order.learn(settings, took(settings))
    for settings in grid:
        assert order.expected(settings) == pytest.approx(took(settings))


def test_a_sweep_makes_the_longest_runs_first(grid: list[Settings], scenario: Path) -> None:
    """Once it has seen some: what is left for the end is shorter than most."""
    begun: list[Settings] = []

    def run(base: Base, settings: Settings) -> Outcome:
        begun.append(settings)
        return Outcome(settings, {}, None, took(settings))

    spread = Spread(Base.read(scenario), lambda: ThreadPoolExecutor(1), run=run, width=1)
    outcomes = spread.outcomes(grid)
    spread.close()
    assert [outcome.settings for outcome in outcomes] == grid
    assert len(begun) == 64 and begun != grid
    lengths = [took(settings) for settings in begun]
    assert max(lengths[-16:]) < sum(lengths) / 64 < max(took(settings) for settings in grid[-16:])


def test_a_large_grid_is_begun_at_once(scenario: Path) -> None:
    grid: list[Settings] = [{"seed": seed} for seed in range(20_000)]
    order = Order(grid)
    order.add(range(len(grid)))
    assert [order.first() for _ in grid] == list(range(20_000))


def test_processes_say_how_many_they_are() -> None:
    assert processes(3).width == 3
    width = processes(None).width
    assert width is not None and width >= 1
