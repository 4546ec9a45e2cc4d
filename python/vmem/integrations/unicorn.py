"""Real x86-64 machine code with vmem as its memory: `pip install 'vmem-sim[unicorn]'`.

Unicorn decodes and executes; every fetch, load and store goes through a vCPU of vmem first: translated in the
VM's mode, counted, its faults served by guest kernel and hypervisor. docs/design/machine-code.md says what
counts as an access and how it works.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vmem import _core, checks
from vmem.errors import ConfigError
from vmem.guest import Process
from vmem.integrations.engine import create_engine, functions, handle
from vmem.integrations.linux import Elf, SystemCalls, load
from vmem.integrations.linux.file_calls import FileCalls, Input, Output
from vmem.integrations.linux.memory_calls import MemoryCalls
from vmem.integrations.linux.numbers import SIGFPE, SIGILL, SIGKILL, SIGNALS, SIGSEGV, SIGTRAP
from vmem.integrations.linux.process_calls import Ended, ProcessCalls
from vmem.integrations.linux.user_memory import UserMemory
from vmem.sizes import parse_largest

Reason = Literal["instructions", "syscall", "exception", "segfault", "killed"]

SLICE = 1 << 20
"""Instructions between two looks at Ctrl-C."""

_KINDS = ("load", "store", "fetch")
_SIGNAL_OF = {0: SIGFPE, 1: SIGTRAP, 3: SIGTRAP, 6: SIGILL, 16: SIGFPE, 19: SIGFPE}
"""By the vector of an exception; all others are SIGSEGV. Linux, arch/x86/kernel/traps.c."""


@dataclass(frozen=True)
class Stop:
    """Why a CPU stopped.

    `reason`: "instructions" (as many as were asked for), "syscall" (it has executed SYSCALL), "exception"
    (`vector`), "segfault" (`address` and `access`), "killed" (the process, for want of memory).
    """

    reason: Reason
    vector: int | None = None
    address: int | None = None
    access: str | None = None


class Cpu:
    """An x86-64 CPU in ring 3 that runs what is in a process's memory, on the process's vCPU.

    `cpu["rax"]` reads and writes registers: the general ones, `rip`, `rflags`, `fs_base`, `gs_base`. The
    processor is a Nehalem: SSE4.2, no AVX. It is bound to the vCPU that the process has now. ConfigError
    without the package unicorn.
    """

    def __init__(self, process: Process) -> None:
        self._engine = create_engine()
        self._core = _core.UnicornCpu(process._core, *process._where, handle(self._engine), functions())
        self._registers = _register_numbers()

    def __getitem__(self, register: str) -> int:
        return int(self._engine.reg_read(self._number(register)))

    def __setitem__(self, register: str, value: int) -> None:
        self._engine.reg_write(self._number(register), checks.address(value, f"register {register}"))

    def _number(self, register: str) -> int:
        if register not in self._registers:
            raise ConfigError(f"register {register!r}; accepted are {', '.join(self._registers)}")
        return self._registers[register]

    @property
    def fs_base(self) -> int:
        """Where the segment FS begins: a thread's own data."""
        return self["fs_base"]

    @fs_base.setter
    def fs_base(self, value: int) -> None:
        self["fs_base"] = value

    @property
    def instructions(self) -> int:
        """Begun so far; a repeated string instruction is one."""
        return self._core.instructions

    @property
    def accesses(self) -> dict[str, int]:
        """What it has added to the vCPU's counters: `fetches`, `loads`, `stores`."""
        return dict(zip(("loads", "stores", "fetches"), self._core.accesses, strict=True))

    def run(self, instructions: int = SLICE) -> Stop:
        """Executes at most so many instructions, from `rip` on. OutOfMemory if the host kills the VM.

        After a segmentation fault or an exception `rip` is at the instruction, whose other registers may have
        changed; after "syscall" behind it.
        """
        reason, value, kind = self._core.run(checks.integer(instructions, "instructions", 0, 2**63))
        if reason == "segfault":
            return Stop(reason, address=value, access=_KINDS[kind])
        return Stop(reason, vector=value if reason == "exception" else None)


def _register_numbers() -> dict[str, int]:
    from unicorn import x86_const

    names = "rax rbx rcx rdx rsi rdi rbp rsp".split() + [f"r{i}" for i in range(8, 16)]
    names += ["rip", "rflags", "fs_base", "gs_base"]
    return {name: getattr(x86_const, f"UC_X86_REG_{name.upper()}") for name in names}


class _SimulatedClock:
    def __init__(self, core: _core.Machine) -> None:
        self._core = core

    @property
    def now(self) -> int:
        return self._core.now()

    def sleep(self, nanoseconds: int) -> None:
        self._core.advance(nanoseconds)


class Program:
    """A statically linked Linux program for x86-64, loaded into a process that maps nothing yet.

    `stdin` is read from and `stdout`, `stderr` are written to as files in binary mode; if not given, there is
    nothing to read, and what is written goes to the simulator's own. `seed` makes its random bytes; `page` is
    the largest page of what it maps by itself. ConfigError says what is wrong with a file.
    """

    def __init__(
        self,
        process: Process,
        path: str | os.PathLike[str],
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        stdin: Input | None = None,
        stdout: Output | None = None,
        stderr: Output | None = None,
        seed: int = 1,
        page: str = "4KiB",
    ) -> None:
        parse_largest(page, "page")
        elf = Elf.read(Path(path))
        if process.mappings():
            raise ConfigError(f"{process!r} maps memory already; accepted is a new process")
        self.process = process
        self.cpu = Cpu(process)
        memory = UserMemory(process)
        self._process_calls = ProcessCalls(
            memory,
            self.cpu,
            _SimulatedClock(process._core),
            process.pid,
            str(elf.path.absolute()),
            checks.integer(seed, "seed", 0, checks.WORD - 1),
        )
        streams = (stdin or _Nothing(), stdout or sys.stdout.buffer, stderr or sys.stderr.buffer)
        self._calls = SystemCalls(
            MemoryCalls(process, memory, page), FileCalls(memory, *streams), self._process_calls
        )
        image = load(
            process, elf, [str(path), *arguments], environment or {}, self._process_calls.random_bytes(16)
        )
        self.cpu["rip"], self.cpu["rsp"] = image.entry, image.stack
        self.status: int | None = None
        """None while it runs; then its exit status, or 128 and the number of the signal that ended it."""
        self.stop: Stop | None = None
        """The exception or segmentation fault that ended it, if one did."""
        self._signal = 0

    @property
    def unknown_calls(self) -> list[int]:
        """Numbers of the system calls that do not exist here and got ENOSYS, each once."""
        return list(self._calls.unknown)

    @property
    def end(self) -> str:
        """How it ended, in words: "exit status 0", or the signal and what raised it; "running" before."""
        if self.status is None:
            return "running"
        if self._signal == 0:
            return f"exit status {self.status}"
        name = SIGNALS.get(self._signal, f"signal {self._signal}")
        stop, at = self.stop, f"at rip {self.cpu['rip']:#x}"
        if stop is None:
            return name
        if stop.reason == "killed":
            return f"{name}: the guest has no memory left"
        if stop.reason == "segfault":
            return f"{name}: {stop.access} of {stop.address:#x} {at}"
        return f"{name}: exception {stop.vector} {at}"

    def run(self, instructions: int | None = None) -> int | None:
        """Runs it to its end, or at most so many instructions. Returns its `status`: None if it still runs.

        When it has ended its process has exited. OutOfMemory if the host kills the VM.
        """
        left = checks.WORD if instructions is None else checks.integer(instructions, "instructions", 1, 2**63)
        while self.status is None and left > 0:
            before = self.cpu.instructions
            stop = self.cpu.run(min(left, SLICE))
            left -= self.cpu.instructions - before
            if stop.reason == "syscall":
                self._system_call()
            elif stop.reason != "instructions":
                self._end_by(stop)
        return self.status

    def _system_call(self) -> None:
        cpu = self.cpu
        cpu["rcx"], cpu["r11"] = cpu["rip"], cpu["rflags"]  # SYSCALL, SDM vol. 2
        arguments = [cpu[name] for name in ("rdi", "rsi", "rdx", "r10", "r8", "r9")]
        try:
            cpu["rax"] = self._calls.call(cpu["rax"], *arguments)
        except Ended as ended:
            self._finish(ended.status, ended.signal)

    def _end_by(self, stop: Stop) -> None:
        self.stop = stop
        signal = SIGKILL if stop.reason == "killed" else SIGSEGV
        if stop.vector is not None:
            signal = _SIGNAL_OF.get(stop.vector, SIGSEGV)
        self._finish(128 + signal, signal)

    def _finish(self, status: int, signal: int) -> None:
        self.status, self._signal = status, signal
        self.process.exit()


class _Nothing:
    def read(self, _length: int, /) -> bytes:
        return b""
