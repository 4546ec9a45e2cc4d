"""The VMs of a scenario over time: some are there from the beginning, some come later, some leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vmem.booting import TimedMachine
from vmem.errors import OutOfMemory
from vmem.hypervisor import Hypervisor
from vmem.outcome import outcome
from vmem.rows import Row, absent
from vmem.scenario import Vm as VmSpec

Boot = Callable[[VmSpec, str, int], TimedMachine]
"""Of a table's VM with this name, which is the n-th copy."""


class Stay:
    """One VM of a scenario, from its arrival to its departure."""

    def __init__(self, spec: VmSpec, name: str, copy: int, host: Hypervisor) -> None:
        self.spec, self.name, self.copy = spec, name, copy
        self.arrived: int | None = None
        self.departed: int | None = None
        """When it came and when it left: nanoseconds of the host's clock."""
        self.refused: str | None = None
        """Why the host turned it away."""
        self._host = host
        self._machine: TimedMachine | None = None
        self._left: _Left | None = None

    @property
    def due(self) -> int | None:
        """When it comes or leaves next: nanoseconds since the run's beginning; None: not any more."""
        if self.arrived is None and self.refused is None:
            return self.spec.arrives
        return self.spec.departs if self._machine is not None else None

    def arrive(self, boot: Boot) -> None:
        """OutOfMemory if the host does not admit it, or cannot boot it."""
        self._machine = boot(self.spec, self.name, self.copy)
        self.arrived = self._host.now

    def act(self, boot: Boot) -> None:
        """Does what is due. A host that turns it away is an event, and the run goes on."""
        if self._machine is not None:
            self._depart(self._machine)
            return
        try:
            self.arrive(boot)
            self._host.log("vm_arrived", self.name, memory=self.spec.memory)
        except OutOfMemory as error:
            info = self._host.meminfo()
            self.refused = str(error)
            self._host.log(
                "vm_refused",
                self.name,
                memory=self.spec.memory,
                free=info["free"],
                swap_free=info["swap_total"] - info["swap_used"],
            )

    def _depart(self, machine: TimedMachine) -> None:
        vm = machine.vm
        self._host.log("vm_departed", self.name, resident=vm.resident, swapped=vm.swapped)
        self._left = _Left(machine, self.stayed, self._host)
        self._host.destroy_vm(vm)
        self._machine = None
        self.departed = self._host.now

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will run any more."""
        if self._machine is not None:
            return all(job.ended != "running" for job in self._machine.jobs)
        return self._left is not None or self.refused is not None

    @property
    def references(self) -> int:
        return self._now().references

    @property
    def costs(self) -> dict[int, int]:
        """Picoseconds → references that cost so much."""
        return self._now().costs

    @property
    def took(self) -> int:
        """From its arrival to its last reference, in nanoseconds."""
        return max(0, self._now().progressed_at - (self.arrived or 0))

    @property
    def stayed(self) -> int:
        """Nanoseconds until now, or its departure."""
        return (self._host.now if self.departed is None else self.departed) - (self.arrived or 0)

    def row(self, step: int) -> Row:
        """What it has done since the last row, and what it holds: nothing if it is not there."""
        if self._machine is not None:
            return self._machine.meter.row(step, self._host.now)
        last = None if self._left is None else self._left.take_row()
        return absent(step, self._host.now, self.name, last)

    def summary(self) -> dict[str, Any]:
        """Its part of summary.json."""
        found = _summary(self._machine, self.stayed, self._host) if self._left is None else self._left.summary
        times = {"arrived_ns": self.arrived, "departed_ns": self.departed, "stayed_ns": self.stayed}
        return {**found, **times}

    def warnings(self) -> list[str]:
        if self.refused is not None:
            return [f"VM {self.name!r} was turned away: {self.refused}"]
        return [] if self.arrived is None else self._now().warnings()

    def _now(self) -> TimedMachine | _Left:
        found = self._left or self._machine
        assert found is not None, f"{self.name} has not come"
        return found


def _summary(machine: TimedMachine | None, stayed: int, host: Hypervisor) -> dict[str, Any]:
    assert machine is not None
    found = outcome(machine.vm, machine.programs, stayed, host)
    return {**machine.summary(host.costs), "outcome": found}


class _Left:
    """What a VM was when it left."""

    def __init__(self, machine: TimedMachine, stayed: int, host: Hypervisor) -> None:
        self.references = machine.references
        self.progressed_at = machine.progressed_at
        self.costs = machine.costs
        self.summary = _summary(machine, stayed, host)
        self._warnings = machine.warnings()
        self._row: Row | None = machine.meter.row(0, host.now)

    def warnings(self) -> list[str]:
        return self._warnings

    def take_row(self) -> Row | None:
        """What it did between the last row and its departure, once."""
        row, self._row = self._row, None
        return row


class Stays:
    """All VMs of a scenario on their host, in its order."""

    def __init__(self, host: Hypervisor, specs: tuple[VmSpec, ...], boot: Boot) -> None:
        self._host, self._boot = host, boot
        self.all = [Stay(spec, name, copy, host) for spec in specs for copy, name in enumerate(spec.names)]
        for stay in self.all:
            if not stay.spec.arrives:
                stay.arrive(boot)

    @property
    def present(self) -> list[Stay]:
        """Those that came, whether they have left or not."""
        return [stay for stay in self.all if stay.arrived is not None]

    def begin(self) -> None:
        """The run begins: those that are there have come now."""
        for stay in self.present:
            stay.arrived = self._host.now

    def next_due(self) -> int | None:
        """When the next one comes or leaves: nanoseconds since the run's beginning."""
        return min((stay.due for stay in self.all if stay.due is not None), default=None)

    def act(self, passed: int) -> None:
        """Who leaves makes room first; who comes at the same time comes in the scenario's order."""
        due = [stay for stay in self.all if stay.due is not None and stay.due <= passed]
        for stay in sorted(due, key=lambda stay: stay.arrived is None):
            stay.act(self._boot)

    @property
    def are_over(self) -> bool:
        return all(stay.is_over for stay in self.all)

    def rows(self, step: int) -> list[Row]:
        return [stay.row(step) for stay in self.all]

    def refused(self) -> list[dict[str, Any]]:
        """Of summary.json: VMs that the host turned away."""
        return [
            {"name": stay.name, "memory_bytes": stay.spec.memory, "why": stay.refused}
            for stay in self.all
            if stay.refused is not None
        ]

    def warnings(self) -> list[str]:
        return [text for stay in self.all for text in stay.warnings()]
