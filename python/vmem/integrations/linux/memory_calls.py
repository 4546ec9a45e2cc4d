"""mmap and its kin, by way of the guest kernel."""

from __future__ import annotations

from vmem.errors import ConfigError, OutOfMemory
from vmem.guest import Process
from vmem.integrations.linux.elf import PAGE
from vmem.integrations.linux.numbers import EBADF, EEXIST, EINVAL, ENOMEM
from vmem.integrations.linux.user_memory import CHUNK, CallFailed, UserMemory

_PRIVATE, _FIXED, _ANONYMOUS, _FIXED_NOREPLACE = 0x2, 0x10, 0x20, 0x100000
_MAY_MOVE = 1
_ADVICE = {4: "dontneed", 8: "dontneed", 14: "hugepage", 15: "nohugepage"}
_LONGEST = 1 << 47


def _letters(bits: int) -> str:
    if bits & ~7:
        raise CallFailed(EINVAL)
    # As on x86: what may be written may be read.
    readable = bits | (1 if bits & 2 else 0)
    return "".join(letter for bit, letter in ((1, "r"), (2, "w"), (4, "x")) if readable & bit) or "-"


class MemoryCalls:
    """Errors of the guest kernel become errno. `page` is the largest page of what the program maps."""

    def __init__(self, process: Process, memory: UserMemory, page: str) -> None:
        self._process, self._memory, self._page = process, memory, page

    def mmap(self, address: int, length: int, prot: int, flags: int, _file: int, _offset: int) -> int:
        """Anonymous memory; there are no files."""
        if not flags & _ANONYMOUS:
            raise CallFailed(EBADF)
        letters, size = _letters(prot), self._pages(length)
        if not flags & (_FIXED | _FIXED_NOREPLACE):
            return self._map(size, letters, None, ENOMEM)
        if address % PAGE:
            raise CallFailed(EINVAL)
        if not flags & _FIXED_NOREPLACE:
            self.munmap(address, size)
        return self._map(size, letters, address, EEXIST if flags & _FIXED_NOREPLACE else ENOMEM)

    def _pages(self, length: int) -> int:
        if not 0 < length <= _LONGEST:
            raise CallFailed(ENOMEM if length else EINVAL)
        return -(-length // PAGE) * PAGE

    def _map(self, size: int, letters: str, at: int | None, errno: int) -> int:
        try:
            return self._process.mmap(size, prot=letters, at=at, page=self._page, name="anonymous").start
        except (ConfigError, OutOfMemory):
            raise CallFailed(errno) from None

    def munmap(self, address: int, length: int, *_: int) -> int:
        try:
            self._process.munmap(address, self._pages(length))
        except (ConfigError, OutOfMemory):
            raise CallFailed(EINVAL) from None
        return 0

    def mprotect(self, address: int, length: int, prot: int, *_: int) -> int:
        letters = _letters(prot)
        if address % PAGE:
            raise CallFailed(EINVAL)
        if length:
            try:
                self._process.mprotect(address, letters, self._pages(length))
            except (ConfigError, OutOfMemory):
                raise CallFailed(ENOMEM) from None
        return 0

    def madvise(self, address: int, length: int, advice: int, *_: int) -> int:
        """What is advice only is accepted and forgotten, as Linux may."""
        if address % PAGE:
            raise CallFailed(EINVAL)
        if length and advice in _ADVICE:
            try:
                self._process.madvise(address, _ADVICE[advice], self._pages(length))
            except (ConfigError, OutOfMemory):
                raise CallFailed(ENOMEM) from None
        return 0

    def brk(self, end: int, *_: int) -> int:
        return self._process.brk(end)

    def mremap(self, address: int, old: int, new: int, flags: int, *_: int) -> int:
        """Shrinks in place; grows in place where there is room, else moves the bytes if it may."""
        if address % PAGE or flags & ~_MAY_MOVE:
            raise CallFailed(EINVAL)
        was, size = self._pages(old), self._pages(new)
        if size <= was:
            return address if size == was else address + self.munmap(address + size, was - size)
        letters = next(
            (area.prot for area in self._process.mappings() if area.start <= address < area.end), None
        )
        if letters is None:
            raise CallFailed(EINVAL)
        try:
            self._map(size - was, letters, address + was, ENOMEM)
        except CallFailed:
            if not flags & _MAY_MOVE:
                raise
            return self._move(address, was, size, letters)
        return address

    def _move(self, address: int, was: int, size: int, letters: str) -> int:
        target = self._map(size, letters, None, ENOMEM)
        for offset in range(0, was, CHUNK):
            length = min(CHUNK, was - offset)
            self._memory.write(target + offset, self._memory.read(address + offset, length))
        self.munmap(address, was)
        return target
