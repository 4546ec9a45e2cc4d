"""Events, and how often a client is bothered with them."""

from __future__ import annotations

from dataclasses import dataclass

from vmem.qmp.values import Value

_SECOND = 10**9


@dataclass(frozen=True)
class Event:
    """Something that a VM's clients are told without having asked."""

    name: str
    at: int
    """Nanoseconds of the host's clock."""
    data: dict[str, Value] | None = None


class Throttle:
    """At most one event a second: the first at once, then the last one of each second.

    What is told late keeps the time when it happened. QEMU does so with BALLOON_CHANGE, on the same clock as
    its time stamps.
    """

    def __init__(self) -> None:
        self._held: Event | None = None
        self._until: int | None = None

    @property
    def deadline(self) -> int | None:
        """When `due` may have something; None: not before the next `offer`."""
        return self._until

    def offer(self, event: Event, now: int) -> list[Event]:
        """What is to be told, now that this has happened."""
        if self._until is None:
            self._until = now + _SECOND
            return [event]
        self._held = event
        return []

    def due(self, now: int) -> list[Event]:
        """What is to be told by now, which is asked no later than at the deadline."""
        if self._until is None or now < self._until:
            return []
        if self._held is None:
            self._until = None
            return []
        told, self._held, self._until = [self._held], None, now + _SECOND
        return told
