"""Static programs: their system calls, their ends, and what else they notice of the world."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vmem
from vmem.integrations.unicorn import Program

from .conftest import Compile

PIE = ("-static-pie", "-fPIE")


def start(path: Path, *arguments: str, memory: str = "32MiB", **options: Any) -> tuple[Program, io.BytesIO]:
    """The program in a VM that has enough of everything, and what it will have written."""
    vm = vmem.Hypervisor("128MiB").create_vm("vm", memory=memory)
    output = io.BytesIO()
    options = {"stdin": io.BytesIO(b"hello, world"), "stdout": output, "stderr": output, **options}
    return Program(vm.guest.spawn("program"), path, arguments, **options), output


@pytest.mark.parametrize("flags", [("-static",), PIE], ids=["static", "static-pie"])
def test_system_calls(compile_static: Compile, flags: tuple[str, ...]) -> None:
    """The program checks what it gets, and says in which line it was not what Linux gives."""
    program, output = start(compile_static("calls.c", *flags), "calls", environment={"WHERE": "here"})
    status = program.run()
    assert output.getvalue().startswith(b"one two\ncut\n2 arguments, calls, WHERE=here, random ")
    assert (status, program.end, program.unknown_calls) == (0, "exit status 0", [])
    # The kernel's copies are accesses of the process, too, but none of the program's.
    assert program.cpu.accesses["fetches"] >= program.cpu.instructions


def test_equal_seeds_give_equal_runs(compile_static: Compile) -> None:
    """Random bytes, clocks and time-stamp counters included; in slices of any size."""

    def run(seed: int, instructions: int) -> tuple[bytes, dict[str, int]]:
        program, output = start(compile_static("calls.c"), "calls", seed=seed)
        while program.run(instructions) is None:
            pass
        return output.getvalue(), program.cpu.accesses

    assert run(1, 10_000) == run(1, 10_000)
    (first, accesses), (second, _), (again, same) = run(1, 1 << 30), run(2, 1 << 30), run(1, 999)
    random = re.compile(rb"random (\w+)")
    assert random.findall(first) == random.findall(again) != random.findall(second)
    assert accesses == same


ENDS: dict[str, tuple[int, str]] = {
    "load": (139, r"SIGSEGV: load of 0x123456 at rip 0x4\w+"),
    "store": (139, r"SIGSEGV: store of 0x4\w+ at rip 0x4\w+"),
    "jump": (139, r"SIGSEGV: fetch of 0x7777000 at rip 0x7777000"),
    "high": (139, r"SIGSEGV: load of 0x8000000000000010 at rip 0x4\w+"),
    "execute": (139, r"SIGSEGV: fetch of 0x7ff\w+ at rip 0x7ff\w+"),
    "stack": (139, r"SIGSEGV: store of 0x7ff\w+ at rip 0x4\w+"),
    "hlt": (139, r"SIGSEGV: exception 13 at rip 0x4\w+"),
    "divide": (136, r"SIGFPE: exception 0 at rip 0x4\w+"),
    "ud2": (132, r"SIGILL: exception 6 at rip 0x4\w+"),
    "int3": (133, r"SIGTRAP: exception 3 at rip 0x4\w+"),
    "abort": (134, r"SIGABRT"),
    "eat": (137, r"SIGKILL: the guest has no memory left"),
    "nothing": (9, r"exit status 9"),
}


@pytest.mark.parametrize("end", ENDS)
def test_ends(compile_static: Compile, end: str) -> None:
    program, _ = start(compile_static("calls.c"), end)
    assert program.end == "running"
    status, words = ENDS[end]
    assert program.run() == program.run() == status
    assert re.fullmatch(words, program.end), program.end
    with pytest.raises(vmem.ConfigError, match="has exited"):
        program.process.mappings()


def test_unknown_calls_are_named_once(compile_static: Compile) -> None:
    program, _ = start(compile_static("calls.c"), "unknown")
    assert program.run() == 3 and program.unknown_calls == [777, 57]


def test_a_wait_for_nobody_is_an_error(compile_static: Compile) -> None:
    program, _ = start(compile_static("calls.c"), "wait")
    with pytest.raises(vmem.VmemError, match="waits for a thread that does not exist"):
        program.run()


def test_a_vm_that_the_host_kills(compile_static: Compile) -> None:
    """The host has neither memory nor swap left."""
    host = vmem.Hypervisor("8MiB")
    vm = host.create_vm("vm", memory="64MiB")
    program = Program(vm.guest.spawn("program"), compile_static("calls.c"), ["eat"])
    with pytest.raises(vmem.OutOfMemory, match="the host has no memory left for it"):
        program.run()
    with pytest.raises(vmem.OutOfMemory, match="'vm' was killed"):
        program.run()
    assert vm.is_killed and program.end == "running"
    host.check()


def test_what_a_program_may_be_given(compile_static: Compile) -> None:
    path = compile_static("calls.c")
    with pytest.raises(vmem.ConfigError, match="without zero bytes"):
        start(path, "a\0b")
    with pytest.raises(vmem.ConfigError, match="arguments and environment: more than accepted"):
        start(path, *["x" * 1000] * 200)
    with pytest.raises(vmem.ConfigError, match="seed: -1"):
        start(path, seed=-1)
    with pytest.raises(vmem.ConfigError, match="page: '3KiB'"):
        start(path, page="3KiB")
    vm = vmem.Hypervisor("64MiB").create_vm("vm", memory="16MiB")
    process = vm.guest.spawn()
    process.mmap("4KiB")
    with pytest.raises(vmem.ConfigError, match="maps memory already"):
        Program(process, path)
    program, _ = start(path, "nothing")
    for instructions in (0, -1, True, "1"):
        with pytest.raises(vmem.ConfigError, match="instructions: "):
            program.run(instructions)  # type: ignore[arg-type]
    with pytest.raises(vmem.ConfigError, match="register 'eflags'; accepted are rax"):
        program.cpu["eflags"]
    with pytest.raises(vmem.ConfigError, match="register rax: -1"):
        program.cpu["rax"] = -1


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, compile_static: Compile) -> None:
    monkeypatch.setitem(__import__("sys").modules, "unicorn", None)
    with pytest.raises(vmem.ConfigError, match=r"pip install 'vmem-sim\[unicorn\]'"):
        start(compile_static("calls.c"))


@pytest.mark.parametrize("write", [lambda _: 1 / 0], ids=["fails"])
def test_errors_of_who_takes_the_output(compile_static: Compile, write: Callable[[bytes], object]) -> None:
    class Sink:
        def __init__(self) -> None:
            self.write = write

    program, _ = start(compile_static("calls.c"), "calls", stdout=Sink())
    with pytest.raises(ZeroDivisionError):
        program.run()
