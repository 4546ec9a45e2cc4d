"""Files of a guest: on its disk, and in its page cache."""

from __future__ import annotations

from vmem import _core, checks
from vmem.errors import FileError
from vmem.sizes import Size, parse_size


class File:
    """A file of fixed size on the guest's disk: made by `Guest.create_file`. After `unlink` it is gone."""

    def __init__(self, core: _core.Machine, vm: int, number: int, name: str, size: int, place: int) -> None:
        self._core = core
        self._vm = vm
        self.number = number
        self.name = name
        self.size = size
        self.place = place
        """Where on the disk its bytes begin."""

    def read(self, offset: Size, length: Size, *, vcpu: int = 0) -> bytes:
        """Through the page cache, which reads ahead. FileError, and ConfigError beyond the file's end."""
        where, count = parse_size(offset, "file offset"), parse_size(length, "file length")
        data = self._core.file_read(self._vm, vcpu, self.number, where, count)
        if data is None:
            raise FileError(f"read of file {self.name!r} at {where}: the disk failed, or no page is free")
        return data

    def write(self, offset: Size, data: bytes, *, vcpu: int = 0) -> None:
        """To the page cache; the disk has it after `fsync`, or half a minute later.

        FileError, and ConfigError beyond the file's end.
        """
        where = parse_size(offset, "file offset")
        if not self._core.file_write(self._vm, vcpu, self.number, where, bytes(data)):
            raise FileError(f"write of file {self.name!r} at {where}: the disk failed, or no page is free")

    def fsync(self, *, vcpu: int = 0) -> None:
        """Returns when the disk has all that was written. FileError if it has not taken everything."""
        if not self._core.fsync(self._vm, vcpu, self.number):
            raise FileError(f"fsync of file {self.name!r}: the disk did not take everything")

    def unlink(self) -> None:
        """Its pages and its place on the disk are free. ConfigError while a process maps it."""
        self._core.unlink(self._vm, 0, self.number)

    def __repr__(self) -> str:
        return f"<File {self.name!r}, {self.size} bytes>"


def create(core: _core.Machine, vm: int, name: str, size: Size) -> File:
    """As `Guest.create_file`."""
    number = core.create_file(vm, checks.text(name, "file name"), parse_size(size, f"size of file {name!r}"))
    return next(file for file in every(core, vm) if file.number == number)


def every(core: _core.Machine, vm: int) -> list[File]:
    """All files of a guest, oldest first."""
    return [File(core, vm, *told) for told in core.files(vm)]
