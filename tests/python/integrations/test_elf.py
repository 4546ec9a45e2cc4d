"""Files that are no programs, or not such as run here, are refused in one line that says why."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

import vmem
from vmem.integrations.linux import Elf
from vmem.integrations.unicorn import Program

BASE = 0x400000
EXIT = bytes.fromhex("bf05000000 b83c000000 0f05")  # mov edi, 5; mov eax, 60; syscall


def header(**fields: int) -> bytes:
    """An ELF header; `fields` replace those of a good one."""
    good = {"bits": 2, "order": 1, "type": 2, "machine": 62, "entry": BASE + 0x1000, "phoff": 64}
    given = {**good, "phentsize": 56, "phnum": 1, **fields}
    magic = b"\x7fELF" + bytes([given["bits"], given["order"], 1]) + bytes(9)
    sizes = (64, given["phentsize"], given["phnum"], 0, 0, 0)
    words = (given["type"], given["machine"], 1, given["entry"], given["phoff"], 0, 0)
    return magic + struct.pack("<HHIQQQIHHHHHH", *words, *sizes)


def segment(
    address: int, in_file: int, size: int, *, offset: int = 0x1000, flags: int = 5, type: int = 1
) -> bytes:
    return struct.pack("<IIQQQQQQ", type, flags, offset, address, address, in_file, size, 4096)


CODE = segment(BASE + 0x1000, len(EXIT), len(EXIT))


def elf(*segments: bytes, **fields: int) -> bytes:
    start = header(**{"phnum": len(segments), **fields}) + b"".join(segments)
    return start.ljust(0x1000, b"\0") + EXIT


BAD = {
    "empty": (b"", "not an ELF file"),
    "text": (b"#!/bin/sh\nexit 0\n", "not an ELF file"),
    "header cut": (header()[:40], "cut off in its header, after 40 bytes"),
    "32-bit": (elf(CODE, bits=1, machine=3), "a program for i386, 32-bit"),
    "x32": (elf(CODE, bits=1), "a program for x86-64, 32-bit"),
    "Arm": (elf(CODE, machine=183), "for AArch64, 64-bit, little-endian; accepted are those for x86-64"),
    "big-endian": (elf(CODE, order=2), "big-endian"),
    "unknown machine": (elf(CODE, machine=9999), "machine 9999"),
    "object": (elf(CODE, type=1), "an object file; accepted are executables"),
    "core": (elf(CODE, type=4), "a core dump"),
    "odd type": (elf(CODE, type=77), "an ELF file of type 77"),
    "no headers": (elf(CODE, phnum=0), "0 program headers"),
    "odd headers": (elf(CODE, phentsize=32), "1 program headers of 32 bytes"),
    "headers cut": (elf(CODE, phnum=100), "cut off in its program headers"),
    "headers far away": (elf(CODE, phoff=2**63), "cut off in its program headers"),
    "dynamic": (elf(CODE, segment(0, 0, 0, type=3)), "dynamically linked; accepted are statically linked"),
    "no segment": (elf(segment(0, 0, 0, type=4)), "no segment to load"),
    "more in file": (elf(segment(BASE + 0x1000, 12, 4)), "has 12 bytes in the file and 4 in memory"),
    "behind the file": (elf(segment(BASE + 0x1000, 5000, 5000)), "ends behind the file"),
    "far behind it": (elf(segment(BASE, 1, 1, offset=2**64 - 1)), "ends behind the file"),
    "null page": (elf(CODE, segment(0x1000, 0, 8)), "0x1000, 0x8 bytes, is not in user memory"),
    "kernel": (elf(CODE, segment(0xFFFF800000000000, 0, 8)), "0xffff800000000000, 0x8 bytes, is not in user"),
    "into the kernel": (elf(CODE, segment((1 << 47) - 4096, 0, 4097)), "is not in user memory"),
    "huge": (elf(CODE, segment(BASE + 0x2000, 0, 2**64 - 1)), "is not in user memory"),
    "overlap": (elf(CODE, segment(BASE + 0x1800, 0, 8)), "0x401000 and 0x401800 overlap in a page"),
    "twice": (elf(CODE, CODE), "overlap in a page"),
    "entry nowhere": (elf(CODE, entry=0), "the entry point 0x0 is in no executable segment"),
    "entry in data": (
        elf(CODE, segment(BASE + 0x2000, 0, 8, flags=6), entry=BASE + 0x2000),
        "is in no executable segment",
    ),
}


def start(path: Path) -> Program:
    vm = vmem.Hypervisor("64MiB").create_vm("vm", memory="16MiB")
    return Program(vm.guest.spawn("program"), path)


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str, tmp_path: Path) -> None:
    content, why = BAD[name]
    path = tmp_path / "program"
    path.write_bytes(content)
    with pytest.raises(vmem.ConfigError) as refused:
        start(path)
    message = str(refused.value)
    assert why in message and message.startswith(f"{path}: ") and "accepted are" in message
    assert "\n" not in message


def test_the_smallest_good_one(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(elf(CODE, segment(BASE + 0x2FF0, 0, 0x20, flags=6)))
    assert start(path).run() == 5
    read = Elf.read(path)
    assert [(one.first, one.end, one.prot) for one in read.segments] == [
        (BASE + 0x1000, BASE + 0x2000, "rx"),
        (BASE + 0x2000, BASE + 0x4000, "rw"),
    ]
    assert read.headers == 0  # they are in no segment


def test_a_huge_program_runs_as_far_as_memory_goes(tmp_path: Path) -> None:
    """Zeros cost nothing until they are touched."""
    path = tmp_path / "program"
    path.write_bytes(elf(CODE, segment(1 << 40, 0, 1 << 45, flags=6)))
    assert start(path).run() == 5


def test_damaged_programs_are_refused_or_run(tmp_path: Path) -> None:
    """Whatever the bytes are, there is an end or a ConfigError."""
    rng = random.Random(1)
    good = elf(CODE, segment(BASE + 0x2FF0, 0, 0x20, flags=6))
    path = tmp_path / "program"
    ended = refused = 0
    for _ in range(300):
        content = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            content[rng.choice([rng.randrange(176), 0x1000 + rng.randrange(len(EXIT))])] = rng.randrange(256)
        path.write_bytes(content)
        try:
            ended += start(path).run(10_000) is not None
        except (vmem.ConfigError, vmem.OutOfMemory):
            refused += 1
    assert ended > 50 and refused > 50


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        start(tmp_path)
