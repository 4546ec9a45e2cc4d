"""One client at a socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from vmem.qmp.events import Event
from vmem.qmp.limits import UNSENT_BYTES
from vmem.qmp.machine import Machine
from vmem.qmp.session import Session

_READ = 4096
_FAREWELL = 1.0
"""Seconds in which a client may read what it was last told."""
_BEFORE_OTHERS = 32
"""Replies after which simulated time and other clients have their turn."""


class Connection:
    """A session over a socket, until the client goes or `hang_up`.

    A client that does not read its replies is not read from; one that does not read its events is dropped.
    """

    def __init__(self, machine: Machine, session: Session, client: socket.socket) -> None:
        self.machine = machine
        self._session = session
        self._client = client
        self._writer: asyncio.StreamWriter | None = None
        self._hung_up = asyncio.Event()

    def hang_up(self) -> None:
        """What was said is sent; then the connection is closed."""
        self._hung_up.set()

    async def run(self) -> None:
        """Talks. No error of a client comes through."""
        try:
            reader, self._writer = await asyncio.open_unix_connection(sock=self._client)
        except OSError:
            self._client.close()
            return
        talk = asyncio.create_task(self._talk(reader, self._writer))
        leave = asyncio.create_task(self._hung_up.wait())
        self.machine.listeners.add(self._on_event)
        try:
            await asyncio.wait((talk, leave), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.machine.listeners.discard(self._on_event)
            await self._end(talk, leave)

    async def _end(self, *tasks: asyncio.Task[object]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert self._writer is not None
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._wait_closed(self._writer)

    async def _wait_closed(self, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(writer.wait_closed(), _FAREWELL)
        except TimeoutError:
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(self._session.greeting())
            while data := await reader.read(_READ):
                for count, reply in enumerate(self._session.feed(data), 1):
                    writer.write(reply)
                    if count % _BEFORE_OTHERS == 0:
                        await writer.drain()
                        await asyncio.sleep(0)
                await writer.drain()

    def _on_event(self, event: Event) -> None:
        assert self._writer is not None
        told = self._session.event(event)
        if told is None or self._writer.is_closing():
            return
        self._writer.write(told)
        if self._writer.transport.get_write_buffer_size() > UNSENT_BYTES:
            self._writer.transport.abort()
