"""One run of a sweep, in whatever process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from vmem.errors import VmemError
from vmem.sweep.answers import answers
from vmem.sweep.grid import Base, Settings


@dataclass(frozen=True)
class Outcome:
    """What came of a run: numbers, or why there are none."""

    settings: Settings
    numbers: dict[str, Any]
    error: str | None
    seconds: float
    """Of the wall clock."""


def run_point(base: Base, settings: Settings) -> Outcome:
    """Runs the scenario with these settings.

    What is wrong with the scenario then, or what the host could not do, is the outcome; anything else that
    goes wrong is raised, and worth another try.
    """
    from vmem.timed import TimedRunner

    began = time.monotonic()
    try:
        scenario = base.scenario(settings)
        if scenario.run.duration is None:
            return Outcome(settings, {}, f"{base.file}: run: accepted is a scenario with a duration", 0.0)
        result = TimedRunner(scenario).run()
    except VmemError as error:
        return Outcome(settings, {}, str(error), time.monotonic() - began)
    return Outcome(settings, answers(result), None, time.monotonic() - began)
