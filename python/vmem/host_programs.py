"""The host processes of a scenario: when they take memory, and when they give it back."""

from __future__ import annotations

from typing import Any

from vmem.errors import OutOfMemory
from vmem.host_process import HostProcess
from vmem.hypervisor import Hypervisor
from vmem.scenario import HostProcess as Spec
from vmem.scenario import Scenario

_STEPS = 64
"""In which one that grows does so."""


class HostProgram:
    """One of them."""

    def __init__(self, spec: Spec, host: Hypervisor) -> None:
        self.spec = spec
        self.refused = 0
        """Bytes that the host could not give it."""
        self._host = host
        self._process: HostProcess | None = None
        steps = _STEPS if spec.grow else 1
        self._plan = [
            (spec.start + spec.grow * step // steps, spec.memory * step // steps)
            for step in range(1, steps + 1)
            if spec.end is None or spec.start + spec.grow * step // steps < spec.end
        ]
        if spec.end is not None:
            self._plan.append((spec.end, 0))

    @property
    def due(self) -> int | None:
        """Nanoseconds from the run's beginning, of what it does next; None: nothing more."""
        return self._plan[0][0] if self._plan else None

    def act(self) -> None:
        """Does what is due. What the host refuses, it does without."""
        size = self._plan.pop(0)[1]
        if size == 0:
            if self._process is not None:
                self._process.exit()
                self._process = None
            return
        self._process = self._process or self._host.create_process(self.spec.name)
        try:
            self._process.resize(size)
            self.refused = 0
        except OutOfMemory:
            self.refused = size - self._process.memory

    def summary(self) -> dict[str, Any]:
        """Its part of summary.json."""
        return {
            "name": self.spec.name,
            "memory_bytes": 0 if self._process is None else self._process.memory,
            "wanted_bytes": self.spec.memory,
            "refused_bytes": self.refused,
        }

    def warnings(self) -> list[str]:
        """What it did not get."""
        if not self.refused:
            return []
        return [f"host process {self.spec.name!r}: could not give it {self.refused >> 20:,} MiB more"]


class HostPrograms:
    """All of a scenario, as time passes."""

    def __init__(self, scenario: Scenario, host: Hypervisor) -> None:
        self._programs = [HostProgram(spec, host) for spec in scenario.host_processes]

    def next_due(self) -> int | None:
        """When the first of them does something: nanoseconds from the run's beginning."""
        return min((p.due for p in self._programs if p.due is not None), default=None)

    def act(self, passed: int) -> None:
        """Everything that is due when so many nanoseconds have passed, in the scenario's order."""
        for program in self._programs:
            while program.due is not None and program.due <= passed:
                program.act()

    def summary(self) -> list[dict[str, Any]]:
        """Their part of summary.json."""
        return [program.summary() for program in self._programs]

    def warnings(self) -> list[str]:
        """What the host could not give them."""
        return [text for program in self._programs for text in program.warnings()]
