"""What a client gets instead of an answer."""

from __future__ import annotations

from typing import Literal

ErrorClass = Literal["GenericError", "CommandNotFound", "DeviceNotActive", "DeviceNotFound"]


class QmpError(Exception):
    """An error reply: its class, and a text for people, `desc`."""

    def __init__(self, desc: str, kind: ErrorClass = "GenericError") -> None:
        super().__init__(desc)
        self.kind: ErrorClass = kind
        self.desc = desc


def parse_error(what: str) -> QmpError:
    """The reply to what is no JSON. QEMU formats its reason in a buffer of 1,024 bytes."""
    cut = what.encode()[:1023].decode(errors="replace")
    return QmpError(f"JSON parse error, {cut}")
