"""Standard input, output and error. No other file can be opened."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

from vmem.integrations.linux.numbers import EBADF, EFAULT, EINVAL, ENOENT, ENOTTY, ESPIPE
from vmem.integrations.linux.user_memory import CHUNK, CallFailed, UserMemory

_MOST_VECTORS = 1024
_LONGEST = 0x7FFFF000
"""Bytes of one call, as in Linux (MAX_RW_COUNT)."""
_AT_EMPTY_PATH = 0x1000
_PIPE, _BLOCK = 0o010600, 4096


class Output(Protocol):
    """Takes what a program writes."""

    def write(self, data: bytes, /) -> object: ...


class Input(Protocol):
    """Gives what a program reads; nothing is the end."""

    def read(self, length: int, /) -> bytes: ...


class FileCalls:
    """Descriptors 0, 1 and 2 are pipes to `stdin`, `stdout` and `stderr`."""

    def __init__(self, memory: UserMemory, stdin: Input, stdout: Output, stderr: Output) -> None:
        self._memory = memory
        self._readable = {0: stdin}
        self._writable = {1: stdout, 2: stderr}

    def _is_open(self, descriptor: int) -> bool:
        return descriptor in self._readable or descriptor in self._writable

    def _check(self, descriptor: int) -> None:
        if not self._is_open(descriptor):
            raise CallFailed(EBADF)

    def read(self, descriptor: int, address: int, length: int, *_: int) -> int:
        if descriptor not in self._readable:
            raise CallFailed(EBADF)
        data = self._readable[descriptor].read(min(length, CHUNK))
        self._memory.write(address, data)
        return len(data)

    def write(self, descriptor: int, address: int, length: int, *_: int) -> int:
        """What is readable is written, as by Linux; EFAULT only if nothing is."""
        if descriptor not in self._writable:
            raise CallFailed(EBADF)
        done, total = 0, min(length, _LONGEST)
        while done < total:
            # Up to the end of a page: a fault there leaves what is before it written.
            part = min(CHUNK - (address + done) % CHUNK, total - done)
            try:
                self._writable[descriptor].write(self._memory.read(address + done, part))
            except CallFailed:
                if done == 0:
                    raise
                break
            done += part
        return done

    def readv(self, descriptor: int, vectors: int, count: int, *_: int) -> int:
        return self._each(self.read, descriptor, vectors, count)

    def writev(self, descriptor: int, vectors: int, count: int, *_: int) -> int:
        return self._each(self.write, descriptor, vectors, count)

    def _each(self, call: Callable[[int, int, int], int], descriptor: int, vectors: int, count: int) -> int:
        if count > _MOST_VECTORS:
            raise CallFailed(EINVAL)
        self._check(descriptor)
        words = self._memory.words(vectors, 2 * count)
        done = 0
        for address, length in zip(words[::2], words[1::2], strict=True):
            try:
                part = call(descriptor, address, length) if length else 0
            except CallFailed:
                if done == 0:
                    raise
                return done
            done += part
            if part < length:
                break
        return done

    def close(self, descriptor: int, *_: int) -> int:
        self._check(descriptor)
        self._readable.pop(descriptor, None)
        self._writable.pop(descriptor, None)
        return 0

    def lseek(self, descriptor: int, *_: int) -> int:
        self._check(descriptor)
        raise CallFailed(ESPIPE)

    def ioctl(self, descriptor: int, *_: int) -> int:
        self._check(descriptor)
        raise CallFailed(ENOTTY)

    def fcntl(self, descriptor: int, command: int, *_: int) -> int:
        """F_GETFD and F_GETFL; the rest is EINVAL."""
        self._check(descriptor)
        flags = {1: 0, 3: 1 if descriptor in self._writable else 0}
        if command not in flags:
            raise CallFailed(EINVAL)
        return flags[command]

    def fstat(self, descriptor: int, buffer: int, *_: int) -> int:
        """struct stat of a pipe (arch/x86/include/uapi/asm/stat.h)."""
        self._check(descriptor)
        stat = struct.pack(
            "<QQQIIIIQqqqQQQQQQ24x", 1, descriptor + 1, 1, _PIPE, 1000, 1000, 0, 0, 0, _BLOCK, 0, *[0] * 6
        )
        self._memory.write(buffer, stat)
        return 0

    def newfstatat(self, directory: int, path: int, buffer: int, flags: int, *_: int) -> int:
        if flags & _AT_EMPTY_PATH and self._memory.read(path, 1) == b"\0":
            return self.fstat(directory & 0xFFFFFFFF, buffer)
        raise CallFailed(ENOENT)

    def openat(self, _directory: int, path: int, *_: int) -> int:
        if path == 0:
            raise CallFailed(EFAULT)
        raise CallFailed(ENOENT)
