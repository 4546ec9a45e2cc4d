"""Programs of the host itself, beside its VMs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmem import _core, checks
from vmem.sizes import Size, parse_size

if TYPE_CHECKING:
    from typing_extensions import Buffer


class HostProcess:
    """A program with machine memory of its own: made by `Hypervisor.create_process`.

    Its memory is not reclaimed. What it needs beyond what is free, the host takes from its VMs.
    """

    def __init__(self, core: _core.Machine, process_id: int, name: str) -> None:
        self._core = core
        self._id = process_id
        self.name = name

    @property
    def memory(self) -> int:
        """Bytes of machine memory it has."""
        return self._core.process_size(self._id)

    def resize(self, memory: Size) -> None:
        """Grows or shrinks it, rounded up to 4 KiB. New memory reads as zeros.

        OutOfMemory if the host cannot take so much from its VMs; its memory is then as before.
        """
        self._core.process_resize(self._id, parse_size(memory, f"memory of host process {self.name!r}"))

    def read(self, offset: int, length: Size) -> bytes:
        """ConfigError outside its memory."""
        return self._core.process_read(
            self._id, checks.address(offset, "offset"), parse_size(length, "read length")
        )

    def write(self, offset: int, data: Buffer) -> None:
        """ConfigError outside its memory."""
        self._core.process_write(self._id, checks.address(offset, "offset"), bytes(data))

    def exit(self) -> None:
        """Gives its memory back to the host."""
        self._core.destroy_process(self._id)

    def __repr__(self) -> str:
        return f"<host process {self.name!r}>"
