"""ELF files of statically linked x86-64 programs. Source: System V ABI, gabi 4.1, chapters 4 and 5."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vmem.errors import ConfigError

PAGE = 4096
LOWEST, TOP = 0x10000, 1 << 47
"""User addresses that the guest's kernel maps."""
LARGEST = 1 << 30
"""Bytes of a file that is read."""

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_EXECUTABLE, _SHARED = 2, 3
_X86_64 = 62
_LOAD, _INTERPRETER = 1, 3
_MACHINES = {3: "i386", 8: "MIPS", 20: "PowerPC", 21: "PowerPC64", 22: "S390", 40: "Arm", 183: "AArch64"}
_MACHINES |= {243: "RISC-V", 258: "LoongArch"}
_POSITION = 0x5555_0000_0000
"""Where a program goes that does not say, below the guest kernel's heap."""


@dataclass(frozen=True)
class Segment:
    """What is mapped together: `data` from `address` on, zeros up to `size` bytes."""

    address: int
    size: int
    data: bytes
    prot: str

    @property
    def first(self) -> int:
        """The first byte of its first page."""
        return self.address // PAGE * PAGE

    @property
    def end(self) -> int:
        """Behind its last page."""
        return -(-(self.address + self.size) // PAGE) * PAGE


@dataclass(frozen=True)
class Elf:
    """A program: its segments by address, where it begins, and where its program headers are in memory."""

    path: Path
    segments: tuple[Segment, ...]
    entry: int
    headers: int
    header_count: int

    @classmethod
    def read(cls, path: str | Path) -> Elf:
        """ConfigError unless it is a whole, statically linked x86-64 program; OSError: not readable."""
        where = Path(path)
        size = where.stat().st_size
        if size > LARGEST:
            raise ConfigError(f"{where}: {size} bytes; accepted are programs of up to {LARGEST}")
        return _Reader(where, where.read_bytes()).elf()


class _Reader:
    def __init__(self, path: Path, file: bytes) -> None:
        self._path, self._file = path, file

    def elf(self) -> Elf:
        kind, entry, offset, count = self._header()
        programs = [_PROGRAM.unpack_from(self._file, offset + i * _PROGRAM.size) for i in range(count)]
        if any(program[0] == _INTERPRETER for program in programs):
            raise self._bad("dynamically linked", "statically linked programs (gcc -static)")
        base = _POSITION if kind == _SHARED else 0
        loads = [program for program in programs if program[0] == _LOAD and program[6] > 0]
        segments = sorted((self._segment(load, base) for load in loads), key=lambda one: one.address)
        self._check(segments, entry + base)
        return Elf(
            self._path, tuple(segments), entry + base, self._headers_in_memory(loads, base, offset), count
        )

    def _bad(self, what: str, accepted: str) -> ConfigError:
        return ConfigError(f"{self._path}: {what}; accepted are {accepted}")

    def _header(self) -> tuple[int, int, int, int]:
        """Kind, entry point, and where its program headers are: their offset and number."""
        if self._file[:4] != b"\x7fELF":
            raise self._bad("not an ELF file", "ELF files of x86-64 programs")
        if len(self._file) < _HEADER.size:
            raise self._bad(f"cut off in its header, after {len(self._file)} bytes", "whole ELF files")
        magic, kind, machine, _, entry, offset, _, _, _, length, count, *_ = _HEADER.unpack_from(self._file)
        if magic[4] != 2 or magic[5] != 1 or machine != _X86_64:
            name = _MACHINES.get(machine, "x86-64" if machine == _X86_64 else f"machine {machine}")
            bits = {1: "32-bit", 2: "64-bit"}.get(magic[4], "malformed")
            order = {1: "little-endian", 2: "big-endian"}.get(magic[5], "malformed")
            raise self._bad(f"a program for {name}, {bits}, {order}", "those for x86-64, 64-bit")
        if kind not in (_EXECUTABLE, _SHARED):
            what = {1: "an object file", 4: "a core dump"}.get(kind, f"an ELF file of type {kind}")
            raise self._bad(what, "executables")
        if count == 0 or length != _PROGRAM.size:
            raise self._bad(
                f"{count} program headers of {length} bytes", f"one or more of {_PROGRAM.size} bytes"
            )
        if offset > len(self._file) or count * length > len(self._file) - offset:
            raise self._bad("cut off in its program headers", "whole ELF files")
        return kind, entry, offset, count

    def _segment(self, program: tuple[int, ...], base: int) -> Segment:
        _, flags, offset, address, _, in_file, size, _ = program
        what = f"the segment at {address:#x}"
        if in_file > size:
            raise self._bad(f"{what} has {in_file} bytes in the file and {size} in memory", "more in memory")
        if offset > len(self._file) or in_file > len(self._file) - offset:
            raise self._bad(f"{what} ends behind the file", "whole ELF files")
        address += base
        if address < LOWEST or address >= TOP or size > TOP - address:
            raise self._bad(
                f"{what}, {size:#x} bytes, is not in user memory", f"addresses from {LOWEST:#x} to {TOP:#x}"
            )
        prot = "".join(letter for bit, letter in ((4, "r"), (2, "w"), (1, "x")) if flags & bit)
        return Segment(address, size, self._file[offset : offset + in_file], prot or "-")

    def _check(self, segments: list[Segment], entry: int) -> None:
        if not segments:
            raise self._bad("no segment to load", "programs with one or more")
        for lower, upper in pairwise(segments):
            if upper.first < lower.end:
                raise self._bad(
                    f"the segments at {lower.address:#x} and {upper.address:#x} overlap in a page",
                    "segments with pages of their own",
                )
        if not any("x" in one.prot and one.address <= entry < one.address + one.size for one in segments):
            raise self._bad(
                f"the entry point {entry:#x} is in no executable segment", "programs that can start"
            )

    def _headers_in_memory(self, loads: list[tuple[int, ...]], base: int, offset: int) -> int:
        """What AT_PHDR says; 0 if no segment has them."""
        for _, _, at, address, _, in_file, *_ in loads:
            if at <= offset < at + in_file:
                return base + address + offset - at
        return 0
