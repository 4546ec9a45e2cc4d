"""A scenario's host with a monitor for each of its VMs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import msgspec

from vmem.booting import boot
from vmem.errors import OutOfMemory
from vmem.hypervisor import Hypervisor, Vm
from vmem.machines import create_host
from vmem.qmp.commands import Monitored
from vmem.qmp.machine import Machine
from vmem.scenario import Scenario
from vmem.scenario import Vm as VmSpec


class Simulation:
    """A host whose time is moved by `advance`. `boots` make its VMs.

    `epoch` is what the host's clock means to clients: nanoseconds of 1970 when it shows 0. ConfigError,
    OutOfMemory, TraceError.
    """

    def __init__(self, host: Hypervisor, boots: list[Callable[[], Vm]], *, epoch: int | None = None) -> None:
        self.host = host
        self.epoch = time.time_ns() - host.now if epoch is None else epoch
        self.machines = [Machine(host, boot) for boot in boots]

    @classmethod
    def of(cls, scenario: Scenario) -> Simulation:
        """Every VM of a scenario that can have a balloon, and does not say otherwise, has one."""
        host = create_host(scenario)
        return cls(
            host,
            [
                partial(_boot, scenario, host, _with_balloon(spec), name, copy)
                for spec in scenario.vms
                for copy, name in enumerate(spec.names)
            ],
        )

    def monitored(self, machine: Machine) -> Monitored:
        """What a session of one of its VMs is about."""
        return Monitored(machine, self.epoch)

    @property
    def deadline(self) -> int | None:
        """The host's time at which a client is to be told something, at the latest."""
        return min((m.deadline for m in self.machines if m.deadline is not None), default=None)

    def advance(self, nanoseconds: int) -> None:
        """Lets time pass, in which programs run, and tells clients what happened in it.

        A VM that the host gives up in the middle of it is one that has ended, not an error.
        """
        try:
            self._run(nanoseconds)
        except OutOfMemory:
            if not any(machine.is_there and machine.vm.is_killed for machine in self.machines):
                raise
        for machine in self.machines:
            machine.poll()

    def _run(self, nanoseconds: int) -> None:
        end = self.host.now + nanoseconds
        self.host.run(nanoseconds)
        if self.host.now < end:  # no program is left
            self.host.advance(end - self.host.now)

    def remove(self, machine: Machine) -> None:
        """Forgets a VM, and gives its memory back."""
        self.machines.remove(machine)
        if machine.is_there:
            self.host.destroy_vm(machine.vm)


def _boot(scenario: Scenario, host: Hypervisor, spec: VmSpec, name: str, copy: int) -> Vm:
    return boot(scenario, host, spec, name, copy).vm


def _with_balloon(spec: VmSpec) -> VmSpec:
    if spec.balloon is not None or spec.mmu == "native":
        return spec
    return msgspec.structs.replace(spec, balloon=True)
