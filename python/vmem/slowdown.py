"""The run that a VM's slowdown is measured against: alone, with all the memory that it was promised."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from vmem.booting import boot
from vmem.hypervisor import Hypervisor
from vmem.scenario import Scenario, Vm

_STEPS = 200
_ROOM = 256 << 20
"""Machine memory beyond what the VM was promised: for the tables behind it."""


class Twin:
    """The first VM of a [[vm]] table on a host of its own: a physical CPU for each vCPU, memory in plenty.

    Copies of a table differ by their seeds alone, so that its progress is what each of them would have made.
    """

    def __init__(self, scenario: Scenario, spec: Vm, references: int, duration: int) -> None:
        host = scenario.host
        self._host = Hypervisor(
            _ROOM + spec.memory * 9 // 8, cpu=host.cpu, ghz=host.ghz, quantum=host.quantum, seed=host.seed
        )
        self._machine = boot(scenario, self._host, spec, spec.names[0], 0)
        self._references, self._duration = references, duration
        self._times, self._progress = [0], [0]

    def run(self, progress: Callable[[int], None]) -> None:
        """Runs until it has made as many references, at most for as long."""
        began = self._host.now
        for step in range(1, _STEPS + 1):
            until = began + self._duration * step // _STEPS
            passed = self._host.now - began
            run = self._host.run(
                max(0, until - self._host.now),
                references=self._references,
                progress=_from(passed, progress),
            )
            self._times.append(self._host.now - began)
            self._progress.append(self._machine.references)
            if run.ended != "time":
                break

    def slowdown(self, took: int, references: int) -> float:
        """`took` nanoseconds for so many references, to what it took the twin; 1 if it did nothing."""
        alone = self._time_of(references)
        return max(1.0, took / alone) if alone else 1.0

    def _time_of(self, references: int) -> float:
        """When the twin had made so many, between two steps in proportion."""
        at = bisect_left(self._progress, references)
        if at == 0:
            return 0.0
        if at == len(self._progress):
            return float(self._times[-1])
        before, after = self._progress[at - 1], self._progress[at]
        share = (references - before) / (after - before)
        return self._times[at - 1] + share * (self._times[at] - self._times[at - 1])


def _from(base: int, progress: Callable[[int], None]) -> Callable[[int], None]:
    return lambda done: progress(base + done)
