"""Table entries in words."""

from __future__ import annotations

ADDRESS = 0x000F_FFFF_FFFF_F000
LEVEL_NAMES = {5: "PML5E", 4: "PML4E", 3: "PDPTE", 2: "PDE", 1: "PTE"}

_X86 = ((0, "present"), (1, "writable"), (2, "user"), (5, "accessed"), (6, "dirty"), (8, "global"))
_EPT = ((0, "read"), (1, "write"), (2, "execute"), (8, "accessed"), (9, "dirty"))
_LARGE = 1 << 7
_SWAPPED = 1 << 1
"""Of a guest's entry that is not present: the page is in its swap (docs/reference/guest-memory.md)."""
_NO_EXECUTE = 1 << 63


def is_ept(table: str, nested_format: str) -> bool:
    return table == "second_stage" and nested_format == "ept"


def is_present(entry: int, table: str, nested_format: str) -> bool:
    return entry & (7 if is_ept(table, nested_format) else 1) != 0


def decode(entry: int, table: str, level: int, nested_format: str) -> str:
    """The bits that are set, and where the entry points."""
    if not is_present(entry, table, nested_format):
        if table == "guest" and level == 1 and entry & _SWAPPED:
            return f"not present: slot {(entry & ADDRESS) >> 12} of the guest's swap"
        return "not present" if entry == 0 else f"not present, holds {entry:#x}"
    ept = is_ept(table, nested_format)
    words = [name for bit, name in (_EPT if ept else _X86) if entry >> bit & 1]
    if not ept and entry & _NO_EXECUTE:
        words.append("no execute")
    leaf = level == 1 or (level <= 3 and entry & _LARGE != 0)
    if leaf and level > 1:
        words.append({2: "2 MiB page", 3: "1 GiB page"}[level])
    return f"{'page' if leaf else 'table'} at {entry & ADDRESS:#x}: {', '.join(words)}"


def change(before: int | None, after: int, table: str, level: int, nested_format: str) -> str:
    """What has become of an entry."""
    if before is None:
        return decode(after, table, level, nested_format)
    names = _EPT if is_ept(table, nested_format) else (*_X86, (63, "no execute"))
    if before & ADDRESS == after & ADDRESS and is_present(before, table, nested_format):
        turned = [
            f"{name} {'set' if after >> bit & 1 else 'cleared'}"
            for bit, name in names
            if (before ^ after) >> bit & 1
        ]
        return ", ".join(turned) or f"{before:#x} becomes {after:#x}"
    old = decode(before, table, level, nested_format)
    return f"{decode(after, table, level, nested_format)} (was {old})"
