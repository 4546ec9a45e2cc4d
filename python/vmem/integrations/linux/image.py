"""A program in a process's memory, as execve leaves it. Source: System V ABI, AMD64 supplement, 3.4.1."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from vmem.errors import ConfigError
from vmem.guest import Process
from vmem.integrations.linux.elf import PAGE, Elf

STACK = "8MiB"
MOST_ARGUMENTS = 128 << 10
"""Bytes of arguments and environment, which must fit into the stack's first pages."""

_NULL, _PHDR, _PHENT, _PHNUM, _PAGESZ, _BASE, _FLAGS, _ENTRY = 0, 3, 4, 5, 6, 7, 8, 9
_UID, _EUID, _GID, _EGID, _PLATFORM, _HWCAP, _CLKTCK, _SECURE, _RANDOM, _EXECFN = (
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    23,
    25,
    31,
)
_PROGRAM_HEADER = 56


@dataclass(frozen=True)
class Image:
    """Where a loaded program begins to run."""

    entry: int
    stack: int


def load(
    process: Process, elf: Elf, arguments: Sequence[str], environment: Mapping[str, str], random: bytes
) -> Image:
    """Maps segments and a stack into an empty process and writes them; the heap is the kernel's `brk`.

    `random` are the 16 bytes that AT_RANDOM points to. ConfigError: too many arguments, or one that holds a
    zero byte. OutOfMemory.
    """
    words = [*arguments, *(f"{name}={value}" for name, value in environment.items())]
    texts = [_text(word) for word in (*words, str(elf.path), "x86_64")]
    if sum(len(text) + 8 for text in texts) > MOST_ARGUMENTS - PAGE:
        raise ConfigError(
            f"arguments and environment: more than accepted, which is {MOST_ARGUMENTS - PAGE} bytes"
        )
    for segment in elf.segments:
        process.mmap(segment.end - segment.first, at=segment.first, name=elf.path.name)
        process.write(segment.address, segment.data)
        process.mprotect(segment.first, segment.prot, segment.end - segment.first)
    stack = process.stack(STACK)
    return Image(elf.entry, _write_stack(process, stack.end, elf, len(arguments), texts, random))


def _text(word: str) -> bytes:
    data = word.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise ConfigError(f"argument {word!r}; accepted are texts without zero bytes")
    return data + b"\0"


def _write_stack(
    process: Process, top: int, elf: Elf, arguments: int, texts: Sequence[bytes], random: bytes
) -> int:
    """From the top: texts, random bytes, the auxiliary vector, environment, arguments, their number.

    `texts` are the arguments, the environment, the file's name and the platform's. Returns the stack pointer.
    """
    at = top - 16
    addresses = []
    for text in texts:
        at -= len(text)
        process.write(at, text)
        addresses.append(at)
    at = at // 16 * 16 - 16
    process.write(at, random)
    auxiliary = {
        _PHDR: elf.headers,
        _PHENT: _PROGRAM_HEADER,
        _PHNUM: elf.header_count,
        _PAGESZ: PAGE,
        _BASE: 0,
        _FLAGS: 0,
        _ENTRY: elf.entry,
        **dict.fromkeys((_UID, _EUID, _GID, _EGID), 1000),
        _PLATFORM: addresses[-1],
        _HWCAP: 0,
        _CLKTCK: 100,
        _SECURE: 0,
        _RANDOM: at,
        _EXECFN: addresses[-2],
        _NULL: 0,
    }
    words = [arguments, *addresses[:arguments], 0, *addresses[arguments:-2], 0, *chain(*auxiliary.items())]
    pointer = (at - 8 * len(words)) // 16 * 16
    process.write(pointer, struct.pack(f"<{len(words)}Q", *words))
    return pointer
