"""What a run's course is drawn over: references, or simulated time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vmem.runner import Result


class Stepped(Protocol):
    """A row of any timeline."""

    @property
    def step(self) -> int: ...
    @property
    def time_ns(self) -> int: ...


@dataclass(frozen=True)
class Axis:
    """The horizontal axis of charts about the course of a run."""

    title: str
    per_step: int | None
    """References of each process in a step; None: over time."""

    def of(self, row: Stepped) -> float:
        """Where a row stands on it."""
        return row.time_ns / 1e9 if self.per_step is None else row.step * self.per_step / 1e6


def axis_of(result: Result) -> Axis:
    """References for a run by references, seconds for a run over time."""
    per_step = result.summary["references_per_step"]
    if per_step is None:
        return Axis("simulated time, seconds", None)
    return Axis("references of each process so far, millions", per_step)
