"""What a program asks about itself, its time and its end."""

from __future__ import annotations

import struct
from typing import Protocol

import numpy as np

from vmem.errors import VmemError
from vmem.integrations.linux.numbers import EAGAIN, EINVAL, ENOENT, EPERM, ESRCH, ETIMEDOUT
from vmem.integrations.linux.user_memory import CHUNK, CallFailed, UserMemory

_SET_FS, _GET_FS = 0x1002, 0x1003
_FUTEX_WAIT, _FUTEX_WAKE, _FUTEX_WAIT_BITSET, _FUTEX_WAKE_BITSET = 0, 1, 9, 10
_CLOCKS = range(12)
_RLIM_INFINITY = 2**64 - 1
_RLIMIT_STACK, _RLIMIT_NOFILE = 3, 7
_NANOSECONDS = 10**9


class Ended(VmemError):
    """The program has ended: with an exit status, or by a signal."""

    def __init__(self, status: int, signal: int = 0) -> None:
        self.status, self.signal = status, signal
        super().__init__(f"signal {signal}" if signal else f"exit status {status}")


class Clock(Protocol):
    """Simulated time."""

    @property
    def now(self) -> int:
        """Nanoseconds since the host was switched on."""

    def sleep(self, nanoseconds: int) -> None: ...


class FsBase(Protocol):
    """The segment base that holds a thread's own data."""

    @property
    def fs_base(self) -> int: ...
    @fs_base.setter
    def fs_base(self, value: int) -> None: ...


class ProcessCalls:
    """One process of one thread, whose number is `pid`; `seed` makes its random bytes."""

    def __init__(self, memory: UserMemory, cpu: FsBase, clock: Clock, pid: int, path: str, seed: int) -> None:
        self._memory, self._cpu, self._clock = memory, cpu, clock
        self._pid, self._path = pid, path.encode("utf-8", "surrogateescape")
        self._random = np.random.Generator(np.random.PCG64(seed))

    def random_bytes(self, length: int) -> bytes:
        """The next ones; equal seeds give equal bytes."""
        return self._random.bytes(length)

    def exit(self, status: int, *_: int) -> int:
        raise Ended(status & 0xFF)

    def identity(self, *_: int) -> int:
        return self._pid

    def user(self, *_: int) -> int:
        return 1000

    def nothing(self, *_: int) -> int:
        return 0

    def kill(self, process: int, signal: int, *_: int) -> int:
        """There is nobody else to kill; handlers are not called, so that every signal is the end."""
        if process not in (self._pid, 0):
            raise CallFailed(ESRCH)
        return self._signal(signal)

    def tgkill(self, group: int, thread: int, signal: int, *_: int) -> int:
        if group != self._pid:
            raise CallFailed(ESRCH)
        return self.kill(thread, signal)

    def _signal(self, signal: int) -> int:
        if not 0 <= signal <= 64:
            raise CallFailed(EINVAL)
        if signal:
            raise Ended(128 + signal, signal)
        return 0

    def arch_prctl(self, code: int, address: int, *_: int) -> int:
        if code == _GET_FS:
            self._memory.write(address, struct.pack("<Q", self._cpu.fs_base))
            return 0
        if code != _SET_FS:
            raise CallFailed(EINVAL)
        if address >= 1 << 47:
            raise CallFailed(EPERM)
        self._cpu.fs_base = address
        return 0

    def uname(self, buffer: int, *_: int) -> int:
        fields = (b"Linux", b"vmem", b"6.12.0", b"#1 vmem", b"x86_64", b"(none)")
        self._memory.write(buffer, b"".join(field.ljust(65, b"\0") for field in fields))
        return 0

    def readlink(self, path: int, buffer: int, length: int, *_: int) -> int:
        """/proc/self/exe is the program; there is no other link."""
        if self._memory.read(path, 15) != b"/proc/self/exe\0" or length == 0:
            raise CallFailed(ENOENT)
        target = self._path[:length]
        self._memory.write(buffer, target)
        return len(target)

    def readlinkat(self, _directory: int, path: int, buffer: int, length: int, *_: int) -> int:
        return self.readlink(path, buffer, length)

    def absent(self, *_: int) -> int:
        raise CallFailed(ENOENT)

    def getrandom(self, buffer: int, length: int, *_: int) -> int:
        part = min(length, CHUNK)
        self._memory.write(buffer, self.random_bytes(part))
        return part

    def clock_gettime(self, clock: int, buffer: int, *_: int) -> int:
        """Every clock is the host's simulated one, which begins at 0."""
        if clock not in _CLOCKS:
            raise CallFailed(EINVAL)
        self._memory.write(buffer, struct.pack("<QQ", *divmod(self._clock.now, _NANOSECONDS)))
        return 0

    def clock_getres(self, clock: int, buffer: int, *_: int) -> int:
        if clock not in _CLOCKS:
            raise CallFailed(EINVAL)
        if buffer:
            self._memory.write(buffer, struct.pack("<QQ", 0, 1))
        return 0

    def gettimeofday(self, buffer: int, *_: int) -> int:
        if buffer:
            self._memory.write(buffer, struct.pack("<QQ", *divmod(self._clock.now // 1000, 10**6)))
        return 0

    def time(self, buffer: int, *_: int) -> int:
        seconds = self._clock.now // _NANOSECONDS
        if buffer:
            self._memory.write(buffer, struct.pack("<Q", seconds))
        return seconds

    def nanosleep(self, request: int, *_: int) -> int:
        self._clock.sleep(self._duration(request))
        return 0

    def clock_nanosleep(self, clock: int, flags: int, request: int, *_: int) -> int:
        if clock not in _CLOCKS or flags & ~1:
            raise CallFailed(EINVAL)
        duration = self._duration(request)
        self._clock.sleep(max(0, duration - self._clock.now) if flags & 1 else duration)
        return 0

    def _duration(self, address: int) -> int:
        seconds, nanoseconds = self._memory.words(address, 2)
        if nanoseconds >= _NANOSECONDS or seconds >= 1 << 31:
            raise CallFailed(EINVAL)
        return seconds * _NANOSECONDS + nanoseconds

    def futex(self, address: int, operation: int, value: int, timeout: int, *_: int) -> int:
        """Nobody else can wake or be woken: a wait times out, and one without an end is a deadlock."""
        what = operation & 0x7F
        if what in (_FUTEX_WAKE, _FUTEX_WAKE_BITSET):
            return 0
        if what not in (_FUTEX_WAIT, _FUTEX_WAIT_BITSET):
            raise CallFailed(EINVAL)
        if struct.unpack("<I", self._memory.read(address, 4))[0] != value & 0xFFFFFFFF:
            raise CallFailed(EAGAIN)
        if timeout == 0:
            raise VmemError(f"the program waits for a thread that does not exist (futex at {address:#x})")
        duration = self._duration(timeout)
        self._clock.sleep(duration if what == _FUTEX_WAIT else max(0, duration - self._clock.now))
        raise CallFailed(ETIMEDOUT)

    def sched_getaffinity(self, _process: int, length: int, buffer: int, *_: int) -> int:
        """One processor."""
        if length < 8:
            raise CallFailed(EINVAL)
        self._memory.write(buffer, struct.pack("<Q", 1))
        return 8

    def prlimit64(self, process: int, resource: int, new: int, old: int, *_: int) -> int:
        if process not in (0, self._pid) or resource >= 16:
            raise CallFailed(EINVAL)
        if old:
            soft = {_RLIMIT_STACK: 8 << 20, _RLIMIT_NOFILE: 1024}.get(resource, _RLIM_INFINITY)
            self._memory.write(old, struct.pack("<QQ", soft, _RLIM_INFINITY))
        if new:
            self._memory.read(new, 16)
        return 0
