"""The virtual disk of a VM, seen from the host."""

from __future__ import annotations

from vmem import _core, checks
from vmem.sizes import Size, parse_size


class Disk:
    """A virtio block device of `size` bytes: `Vm.disk`. Bytes that nobody wrote are zeros, at no cost."""

    def __init__(self, core: _core.Machine, vm: int, size: int) -> None:
        self._core = core
        self._vm = vm
        self.size = size
        self._fails = False

    def read(self, offset: Size, length: Size) -> bytes:
        """What the disk holds. ConfigError beyond its end."""
        return self._core.disk_read(
            self._vm, parse_size(offset, "disk offset"), parse_size(length, "disk length")
        )

    def write(self, offset: Size, data: bytes) -> None:
        """Puts bytes on the disk, unseen by the guest and in no time. ConfigError beyond its end."""
        self._core.disk_write(self._vm, parse_size(offset, "disk offset"), bytes(data))

    @property
    def fails(self) -> bool:
        """While True, every read and write of the guest is answered with an error."""
        return self._fails

    @fails.setter
    def fails(self, fails: bool) -> None:
        self._fails = checks.flag(fails, "fails")
        self._core.fail_disk(self._vm, self._fails)

    def stat(self) -> dict[str, int]:
        """Since the VM was created: `reads writes flushes errors` (requests), `read_bytes written_bytes`."""
        return self._core.disk_stat(self._vm)

    def __repr__(self) -> str:
        return f"<Disk, {self.size >> 20} MiB>"


def accept_disk(size: Size | None, name: str, what: str = "disk") -> int:
    """Bytes; 0 for none."""
    return 0 if size is None else checks.integer(parse_size(size, f"{what} of VM {name!r}"), what, 1, 1 << 46)
