"""Sessions over sockets, while simulated time passes: one thread, which does one thing or the other."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable

from vmem.qmp.connection import Connection
from vmem.qmp.limits import CLIENTS
from vmem.qmp.machine import Machine
from vmem.qmp.pace import Pace
from vmem.qmp.session import Session
from vmem.qmp.simulation import Simulation
from vmem.qmp.sockets import Sockets

_TICK = 0.005
"""Seconds between two looks at the clock, while simulated time is in time."""


class Server:
    """Serves the VMs of a simulation until all of them have ended, or a signal comes.

    `say` gets what the user should know, a line each.
    """

    def __init__(
        self, simulation: Simulation, sockets: Sockets, pace: Pace, say: Callable[[str], None]
    ) -> None:
        self._simulation, self._sockets, self._pace, self._say = simulation, sockets, pace, say
        self._doors: dict[Machine, asyncio.Task[None]] = {}
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._signal: signal.Signals | None = None

    async def run(self) -> signal.Signals | None:
        """Returns the signal that ended it. Errors of the simulation come through."""
        loop = asyncio.get_running_loop()
        caught = (signal.SIGINT, signal.SIGTERM)
        for number in caught:
            loop.add_signal_handler(number, self.stop, number)
        try:
            return await self.serve()
        finally:
            for number in caught:
                loop.remove_signal_handler(number)

    def stop(self, number: signal.Signals) -> None:
        """As if that signal had come."""
        self._signal = number

    async def serve(self) -> signal.Signals | None:
        """As `run`, without catching signals."""
        for machine in self._simulation.machines:
            self._doors[machine] = asyncio.create_task(self._let_in(machine))
        try:
            while self._simulation.machines and self._signal is None:
                self._pass_time()
                self._retire()
                await asyncio.sleep(0 if self._is_late() else _TICK)
            for machine in self._simulation.machines:
                machine.shut_down("host-signal")
        finally:
            await self._hang_up()
        return self._signal

    def _pass_time(self) -> None:
        simulation, now = self._simulation, self._simulation.host.now
        nanoseconds = self._pace.next_slice(now)
        if simulation.deadline is not None:
            nanoseconds = min(nanoseconds, max(1, simulation.deadline - now))
        if nanoseconds:
            began = time.monotonic()
            simulation.advance(nanoseconds)
            self._pace.took(nanoseconds, time.monotonic() - began)
        warning = self._pace.give_up_delay(simulation.host.now)
        if warning is not None:
            self._say(f"Warning: {warning}")

    def _is_late(self) -> bool:
        return self._pace.next_slice(self._simulation.host.now) > _TICK * self._pace.rate * 1e9

    def _retire(self) -> None:
        """Parts with VMs that have ended."""
        for machine in [machine for machine in self._simulation.machines if machine.ended]:
            if machine.vm.is_killed:
                self._say(f"Warning: VM {machine.name!r} was killed: the host had no memory left for it")
            self._doors.pop(machine).cancel()
            self._sockets.close(machine.name)
            self._simulation.remove(machine)
            for connection in self._connections:
                if connection.machine is machine:
                    connection.hang_up()

    async def _let_in(self, machine: Machine) -> None:
        """Takes clients of one VM, as many as may talk to it at a time."""
        loop, door = asyncio.get_running_loop(), self._sockets.get(machine.name)
        places = asyncio.Semaphore(CLIENTS)
        while True:
            await places.acquire()
            try:
                client, _ = await loop.sock_accept(door)
            except OSError:  # no file descriptor is free, or the client has gone: others have to go, too
                places.release()
                await asyncio.sleep(0.1)
                continue
            self._welcome(machine, client).add_done_callback(lambda _: places.release())

    def _welcome(self, machine: Machine, client: socket.socket) -> asyncio.Task[None]:
        connection = Connection(machine, Session(self._simulation.monitored(machine)), client)
        task = asyncio.create_task(connection.run())
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection))
        return task

    async def _hang_up(self) -> None:
        """Parts with everybody."""
        for door in self._doors.values():
            door.cancel()
        for connection in self._connections:
            connection.hang_up()
        await asyncio.gather(*self._doors.values(), *self._connections.values(), return_exceptions=True)
