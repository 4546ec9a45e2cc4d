"""VMs with clients that need no socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import vmem
from vmem.qmp.events import Event
from vmem.qmp.machine import Machine
from vmem.qmp.session import Session
from vmem.qmp.simulation import Simulation

MIB = 1 << 20
SLICE = 10_000_000
EPOCH = 1_700_000_000 * 10**9


def simulation(*boots: dict[str, Any], memory: str = "4GiB") -> Simulation:
    """A host with a VM for each of these arguments of `create_vm`."""
    host = vmem.Hypervisor(memory)
    makers: list[Callable[[], vmem.Vm]] = [partial(host.create_vm, **boot) for boot in boots]
    return Simulation(host, makers, epoch=EPOCH)


def one_vm(name: str = "vm", memory: str = "64MiB", **keys: Any) -> Simulation:
    """A host with one VM, which has a balloon."""
    return simulation({"name": name, "memory": memory, "balloon": True, **keys})


class Client:
    """A session with one VM, and everything that it was told."""

    def __init__(self, simulation: Simulation, machine: Machine | None = None) -> None:
        self.simulation = simulation
        self.machine = simulation.machines[0] if machine is None else machine
        self.session = Session(simulation.monitored(self.machine))
        self.events: list[bytes] = []
        self.told_at: list[int] = []
        self.machine.listeners.add(self._hear)

    def _hear(self, event: Event) -> None:
        told = self.session.event(event)
        if told is not None:
            self.events.append(told)
            self.told_at.append(self.simulation.host.now)

    def negotiate(self, *capabilities: str) -> Client:
        """Returns itself."""
        assert self.ask("qmp_capabilities", enable=list(capabilities)) == {"return": {}}
        return self

    def send(self, data: bytes | str) -> list[bytes]:
        """The replies' lines."""
        return list(self.session.feed(data.encode() if isinstance(data, str) else data))

    def ask(self, command: str, **arguments: Any) -> Any:
        """The one reply to a command."""
        request = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
        (reply,) = self.send(json.dumps(request) + "\n")
        return json.loads(reply)

    def get(self, command: str, **arguments: Any) -> Any:
        """What the reply returns; no error."""
        return self.ask(command, **arguments)["return"]

    def error(self, command: str, **arguments: Any) -> tuple[str, str]:
        """Class and text of the error that the reply is."""
        error = self.ask(command, **arguments)["error"]
        return error["class"], error["desc"]

    def happened(self) -> list[dict[str, Any]]:
        """The events so far."""
        return [json.loads(event) for event in self.events]

    def wait(self, nanoseconds: int) -> None:
        """Lets time pass as a server does: in short slices, which end when something is due."""
        end = self.simulation.host.now + nanoseconds
        while (now := self.simulation.host.now) < end:
            until, deadline = min(end, now + SLICE), self.simulation.deadline
            self.simulation.advance(max(1, (until if deadline is None else min(until, deadline)) - now))
