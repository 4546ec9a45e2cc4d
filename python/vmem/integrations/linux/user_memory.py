"""The kernel's copies from and to a program's memory."""

from __future__ import annotations

import struct

from vmem.errors import SegmentationFault
from vmem.guest import Process
from vmem.integrations.linux.numbers import EFAULT

CHUNK = 1 << 20
"""Bytes that are copied at once, however many the program says."""


class CallFailed(Exception):
    """A system call answers with this errno."""

    def __init__(self, errno: int) -> None:
        self.errno = errno
        super().__init__(errno)


class UserMemory:
    """Each copy is one access a page of the process, which serves faults as the program's own would."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def read(self, address: int, length: int) -> bytes:
        """CallFailed(EFAULT)."""
        try:
            return self._process.read(address, length)
        except SegmentationFault:
            raise CallFailed(EFAULT) from None

    def write(self, address: int, data: bytes) -> None:
        """CallFailed(EFAULT)."""
        try:
            self._process.write(address, data)
        except SegmentationFault:
            raise CallFailed(EFAULT) from None

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """`count` unsigned 64-bit words."""
        return struct.unpack(f"<{count}Q", self.read(address, 8 * count))
