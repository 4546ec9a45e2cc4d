"""A server and its clients, over sockets: QEMU's own client, many of them, and ill-behaved ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import ExecuteError, QMPClient

from vmem.qmp import limits
from vmem.qmp.pace import Pace
from vmem.qmp.server import Server
from vmem.qmp.simulation import Simulation
from vmem.qmp.sockets import Sockets

from .clients import MIB, simulation

PATIENCE = 120
"""Seconds after which something that should happen is taken not to: no test depends on how long it takes."""

Scene = Callable[["Stage"], Awaitable[None]]


class Stage:
    """A server that runs, and a directory with its sockets."""

    def __init__(self, directory: Path, server: Server, simulation: Simulation, said: list[str]) -> None:
        self.directory, self.server, self.simulation, self.said = directory, server, simulation, said

    def path(self, name: str) -> str:
        return str(self.directory / f"{name}.qmp")

    async def connect(self, name: str) -> QMPClient:
        client = QMPClient(name)
        await client.connect(self.path(name))
        return client

    async def open(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection after its greeting."""
        reader, writer = await asyncio.open_unix_connection(self.path(name))
        assert json.loads(await reader.readline())["QMP"]["capabilities"] == ["oob"]
        return reader, writer


def play(directory: Path, scene: Scene, names: str = "a", rate: float = 1.0) -> Stage:
    """Runs a server with small VMs and a scene beside it; afterwards, nothing must be left."""
    world = simulation(*({"name": name, "memory": "64MiB", "balloon": True} for name in names))
    said: list[str] = []
    with Sockets(directory, names) as sockets:
        server = Server(world, sockets, Pace(rate, world.host.now), said.append)
        stage = Stage(directory, server, world, said)

        async def both() -> None:
            serving = asyncio.create_task(server.serve())
            acting = asyncio.ensure_future(scene(stage))
            await asyncio.wait((serving, acting), return_when=asyncio.FIRST_COMPLETED)
            if not acting.done():  # the server may end first, if the scene asks it to
                await serving
            await acting
            if world.machines:
                server.stop(signal.SIGTERM)
            await serving

        asyncio.run(asyncio.wait_for(both(), PATIENCE))
    assert list(directory.iterdir()) == []
    return stage


async def next_event(client: QMPClient, name: str) -> dict[str, Any]:
    async for event in client.events:
        if event["event"] == name:
            return dict(event)
    raise AssertionError("the events have ended")


async def leave(client: QMPClient) -> None:
    """The server may have closed the connection already, or does so now."""
    with contextlib.suppress(EOFError):
        await client.disconnect()


def test_qemus_client_drives_a_balloon(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect("a")
        assert (await client.execute("query-balloon")) == {"actual": 64 * MIB}
        await client.execute("balloon", {"value": 48 * MIB})
        first = await next_event(client, "BALLOON_CHANGE")
        last = await next_event(client, "BALLOON_CHANGE")
        assert (first["data"], last["data"]) == ({"actual": 63 * MIB}, {"actual": 48 * MIB})
        assert (await client.execute("query-balloon")) == {"actual": 48 * MIB}
        with pytest.raises(ExecuteError, match="expects a size"):
            await client.execute("balloon", {"value": 0})
        polling = {"path": "/machine/peripheral/balloon0", "property": "guest-stats-polling-interval"}
        await client.execute("qom-set", {**polling, "value": 1})
        assert (await client.execute("qom-get", polling)) == 1
        await client.execute("stop")
        await next_event(client, "STOP")
        assert (await client.execute("query-status"))["status"] == "paused"
        await client.execute("cont")
        await next_event(client, "RESUME")
        await client.execute("system_reset")
        assert (await next_event(client, "RESET"))["data"]["reason"] == "host-qmp-system-reset"
        await client.execute("quit")
        assert (await next_event(client, "SHUTDOWN"))["data"]["reason"] == "host-qmp-quit"
        await leave(client)
        while stage.simulation.machines:
            await asyncio.sleep(0.001)

    stage = play(tmp_path, scene)
    assert stage.simulation.machines == [] and stage.said == []


def test_vms_quit_one_by_one(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        a, b = await stage.connect("a"), await stage.connect("b")
        second = await stage.connect("a")
        await a.execute("quit")
        await next_event(second, "SHUTDOWN")
        await a.disconnect()
        await leave(second)
        while Path(stage.path("a")).exists():
            await asyncio.sleep(0)
        assert [machine.name for machine in stage.simulation.machines] == ["b"]
        assert list(stage.simulation.host.vms) == ["b"]
        assert (await b.execute("query-name")) == {"name": "b"}
        await b.execute("quit")
        await leave(b)
        while stage.simulation.machines:
            await asyncio.sleep(0.001)

    assert play(tmp_path, scene, "ab").simulation.machines == []


def test_a_signal_is_told(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect("a")
        stage.server.stop(signal.SIGINT)
        assert (await next_event(client, "SHUTDOWN"))["data"] == {"guest": False, "reason": "host-signal"}
        await leave(client)

    play(tmp_path, scene)


def test_a_thousand_connections(tmp_path: Path) -> None:
    """Some are served, the others wait; when those go, others have their turn; and VM b notices nothing."""

    async def scene(stage: Stage) -> None:
        crowd = []
        for _ in range(1000):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            crowd.append(client)
            try:
                client.connect(stage.path("a"))
            except BlockingIOError:  # even the waiting room is full
                client.close()
                break
        assert len(crowd) > limits.CLIENTS
        greeted = []
        while len(greeted) < limits.CLIENTS:
            greeted = [client for client in crowd if client.fileno() >= 0 and _has_greeting(client)]
            await asyncio.sleep(0.01)
        assert len(greeted) == limits.CLIENTS
        b = await stage.connect("b")
        assert (await b.execute("query-name")) == {"name": "b"}
        await b.disconnect()
        for client in crowd:
            client.close()
        reader, writer = await stage.open("a")
        writer.write(b'{"execute": "qmp_capabilities"}')
        assert await reader.readline() == b'{"return": {}}\r\n'
        writer.close()

    play(tmp_path, scene, "ab")


def _has_greeting(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK) == b"{"
    except BlockingIOError:
        return False


@pytest.mark.parametrize(
    "rudeness",
    [
        b'{"execute": "qmp_capabilities"} {"execute": "bal',
        b"\xff\xfe\x00garbage\x80" * 1000,
        b"[" * 200_000,
        b'"' + b"x" * 300_000,
        b"]" * 20_000,
        b'{"execute": "qmp_capabilities"}' + b'{"execute": "query-commands"}' * 5_000,
        b"",
    ],
)
@pytest.mark.parametrize("leaves", ["at once", "after reading"])
def test_rude_clients(tmp_path: Path, rudeness: bytes, leaves: str) -> None:
    """They lose their own connection at most; the next client finds everything as it was."""

    async def scene(stage: Stage) -> None:
        for _ in range(3):
            reader, writer = await asyncio.open_unix_connection(stage.path("a"))
            writer.write(rudeness)
            if leaves == "after reading":
                writer.write_eof()
                while await reader.read(1 << 16):
                    pass
            else:
                writer.transport.abort()
            writer.close()
        client = await stage.connect("a")
        assert (await client.execute("query-balloon")) == {"actual": 64 * MIB}
        await client.disconnect()

    play(tmp_path, scene)


def test_one_who_does_not_read_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events pile up for it, and not without end; others go on."""
    monkeypatch.setattr("vmem.qmp.connection.UNSENT_BYTES", 10_000)

    async def scene(stage: Stage) -> None:
        reader, writer = await stage.open("a")
        writer.write(b'{"execute": "qmp_capabilities"}')
        assert await reader.readline() == b'{"return": {}}\r\n'
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        client = await stage.connect("a")
        while len(stage.server._connections) == 2:
            await client.execute("stop")
            await client.execute("cont")
        assert (await client.execute("query-status"))["running"]
        await client.disconnect()
        writer.transport.abort()

    play(tmp_path, scene)


def test_one_who_does_not_read_replies_is_not_read_from(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        _, writer = await stage.open("a")
        writer.write(b'{"execute": "query-commands"}' * 100_000)
        client = await stage.connect("a")
        for _ in range(50):
            assert (await client.execute("query-status"))["running"]
        (connection,) = [one for one in stage.server._connections if one._writer is not None and _unsent(one)]
        assert _unsent(connection) < 1 << 20
        await client.disconnect()
        writer.transport.abort()

    play(tmp_path, scene)


def _unsent(connection: Any) -> int:
    return int(connection._writer.transport.get_write_buffer_size())


def test_errors_of_the_simulation_come_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = simulation({"name": "a", "memory": "64MiB"})

    def fail(_: int) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(world, "advance", fail)
    with Sockets(tmp_path, "a") as sockets:
        server = Server(world, sockets, Pace(1000.0, 0), print)
        with pytest.raises(RuntimeError, match="broken"):
            asyncio.run(asyncio.wait_for(server.run(), PATIENCE))
    assert list(tmp_path.iterdir()) == []
