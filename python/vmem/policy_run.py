"""The policy of a scenario, at work in its run."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vmem.hypervisor import Hypervisor
from vmem.policies import Controller, Limits, PolicyRow
from vmem.scenario import Scenario

_MOST_INCIDENTS = 100


class PolicyRun:
    """Nothing, if the scenario has no policy."""

    def __init__(self, scenario: Scenario, host: Hypervisor) -> None:
        choice = scenario.policy
        self._choice = choice
        self._began = host.now
        self._controller: Controller | None = None
        if choice is None:
            return
        limits = {
            name: Limits(_minimum(vm.minimum, vm.reservation, int(vm.memory * choice.floor)), vm.shares)
            for vm in scenario.vms
            for name in vm.names
        }
        self._controller = Controller(host, choice.rules.start(), choice.interval, limits, choice.agents)

    def next_due(self) -> int | None:
        """When it decides next, in nanoseconds since the run's beginning; None: never."""
        return None if self._controller is None else self._controller.due - self._began

    def act(self) -> None:
        """Decides, if it is due."""
        if self._controller is not None:
            self._controller.decide_if_due()

    @property
    def rows(self) -> list[PolicyRow]:
        """What is in policy.csv."""
        return [] if self._controller is None else self._controller.rows

    def warnings(self) -> list[str]:
        """What the policy did wrong, each kind of it once."""
        if self._controller is None or self._choice is None:
            return []
        counts = Counter((found.subject, found.message) for found in self._controller.incidents)
        return [
            f"policy {self._choice.rules.name!r}, {'host' if subject == 'host' else f'VM {subject!r}'}: "
            f"{message}{f' ({count:,} times)' if count > 1 else ''}"
            for (subject, message), count in counts.items()
        ]

    def summary(self) -> dict[str, Any] | None:
        """Its part of summary.json."""
        if self._controller is None or self._choice is None:
            return None
        rows = self._controller.rows
        return {
            "name": self._choice.rules.name,
            "interval_ns": self._choice.interval,
            "decisions": len({row.time_ns for row in rows}),
            "changes": sum(row.wanted is not None for row in rows),
            "mean_error_bytes": round(sum(abs(row.actual - row.target) for row in rows) / max(1, len(rows))),
            "incidents": len(self._controller.incidents),
            "first_incidents": [
                {"at_ns": found.at, "subject": found.subject, "message": found.message}
                for found in self._controller.incidents[:_MOST_INCIDENTS]
            ],
        }


def _minimum(own: int | None, reservation: int, floor: int) -> int:
    """What the operator said of a VM; what it is guaranteed; or what every VM is left."""
    return own if own is not None else reservation or floor
