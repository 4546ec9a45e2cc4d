"""The order of keys on the wire, which is that of the hash table in which QEMU keeps an object."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

_BUCKETS = 512


def _bucket(key: str) -> int:
    """The bucket of a key: gdbm's hash, in 32 bits."""
    data = key.encode().replace(b"\0", b"\xc0\x80")
    value = 0x238F13AF * len(data) + sum(byte << (index * 5 % 24) for index, byte in enumerate(data))
    return (1103515243 * value + 12345) % 2**32 % _BUCKETS


def ordered(table: dict[str, T]) -> list[tuple[str, T]]:
    """The items by bucket; of one bucket, the last one put in comes first."""
    newest_first = list(reversed(table.items()))
    if len(newest_first) < 2:
        return newest_first
    return sorted(newest_first, key=lambda item: _bucket(item[0]))
