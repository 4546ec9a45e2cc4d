"""How far memory can be overcommitted while an objective holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vmem.sweep.grid import Settings
from vmem.sweep.objective import Objective
from vmem.sweep.point import Outcome

Outcomes = Callable[[Sequence[Settings]], list[Outcome]]
CONFIDENCE = 0.95


@dataclass
class Plan:
    """What a search has found."""

    ratio: float | None
    """The highest that keeps the objectives with every seed; None: not even the lowest does."""
    limit: float | None
    """The lowest that was seen to break them; None: none did."""
    tried: dict[float, list[Outcome]] = field(default_factory=dict)
    """By ratio, one for each seed."""

    @property
    def certainty(self) -> float:
        """Of loads like these, the share that keeps the objectives at least, with 95 % confidence.

        The lower bound of Clopper and Pearson (1934) for n of n: (1 - confidence)^(1/n).
        """
        return float((1 - CONFIDENCE) ** (1 / len(self.tried[self.ratio]))) if self.ratio is not None else 0.0


def search(
    ratios: Sequence[float], settings: Sequence[Settings], objectives: Sequence[Objective], run: Outcomes
) -> Plan:
    """Bisects ascending ratios; `settings` differ by their seeds. What breaks at one breaks above it."""
    plan = Plan(None, None)
    low, high = 0, len(ratios)  # below `low` all are good, from `high` on all are bad
    while low < high:
        middle = (low + high) // 2
        ratio = ratios[middle]
        plan.tried[ratio] = run([{**each, "ratio": ratio} for each in settings])
        if all(keeps(outcome, objectives) for outcome in plan.tried[ratio]):
            low, plan.ratio = middle + 1, ratio
        else:
            high, plan.limit = middle, ratio
    return plan


def keeps(outcome: Outcome, objectives: Sequence[Objective]) -> bool:
    """A run that came to nothing keeps none."""
    return outcome.error is None and all(objective.holds(outcome.numbers) for objective in objectives)
