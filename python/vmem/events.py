"""What happened on a host that is worth telling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """Something rare, with its numbers. Kinds: docs/reference/events.md."""

    at: int
    """Simulated time in nanoseconds."""
    kind: str
    subject: str
    """The name of the VM or process that it happened to, or "host"."""
    numbers: Mapping[str, int]
