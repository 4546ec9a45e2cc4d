"""Simulated time against a wall clock that the test winds."""

from __future__ import annotations

import math

import pytest

from vmem import ConfigError
from vmem.qmp.pace import Pace, check_rate

SECOND = 10**9


class Wall:
    """A clock that stands until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def drive(pace: Pace, wall: Wall, seconds: float, cost: float) -> tuple[int, list[str], list[int]]:
    """Simulates for so many wall seconds; a simulated second takes `cost` of them.

    Returns the simulated time, what was said, and the slices.
    """
    simulated, said, slices, end = 0, [], [], wall.now + seconds
    while wall.now < end:
        part = pace.next_slice(simulated)
        if part == 0:
            wall.now += 0.005
            continue
        simulated += part
        wall.now += part * cost / SECOND
        pace.took(part, part * cost / SECOND)
        slices.append(part)
        warning = pace.give_up_delay(simulated)
        if warning is not None:
            said.append(warning)
    return simulated, said, slices


@pytest.mark.parametrize("rate", [1e-6, 0.5, 1.0, 1000.0])
def test_a_fast_simulation_keeps_pace(rate: float) -> None:
    wall = Wall()
    pace = Pace(rate, 0, wall)
    simulated, said, _ = drive(pace, wall, 10, 1e-5 / rate)
    assert simulated == pytest.approx(10 * SECOND * rate, rel=0.01)
    assert said == []


def test_a_slow_simulation_is_not_chased() -> None:
    """It runs as fast as it can, in slices that leave room for clients, and says so now and then."""
    wall = Wall()
    pace = Pace(1.0, 0, wall)
    simulated, said, slices = drive(pace, wall, 150, 4.0)
    assert simulated == pytest.approx(150 / 4 * SECOND, rel=0.01)
    assert max(slices[10:]) * 4.0 / SECOND < 0.03
    assert len(said) == 3 and "0.25 s a second of late instead of 1" in said[-1]
    slow_end = wall.now
    assert pace.owed(simulated) <= 0.6 * SECOND
    wall.now = slow_end + 2
    assert pace.owed(simulated) <= 2.6 * SECOND  # none of the two minutes that were lost


def test_a_short_delay_is_made_up_for() -> None:
    wall = Wall()
    pace = Pace(2.0, 500, wall)
    wall.now += 0.4
    assert pace.owed(500) == pytest.approx(0.8 * SECOND, abs=10)
    assert pace.give_up_delay(500) is None
    assert pace.next_slice(500) < pace.owed(500)
    assert pace.owed(500 + 2 * SECOND) == 0 == pace.next_slice(500 + 2 * SECOND)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, -math.inf, 1e-7, 1001.0])
def test_impossible_rates(rate: float) -> None:
    with pytest.raises(ConfigError, match="accepted are simulated seconds a second"):
        check_rate(rate)
