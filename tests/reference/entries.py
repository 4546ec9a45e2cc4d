"""What the bits of one table entry mean, in both formats (mmu.md, both sections on walks)."""

from __future__ import annotations

from reference.address import PAGE_BITS
from reference.config import Config

A, D = 1 << 5, 1 << 6
PS = 1 << 7
GLOBAL = 1 << 8
NX = 1 << 63
EPT_A, EPT_D = 1 << 8, 1 << 9


def bits(high: int, low: int) -> int:
    """A mask of bits high:low; nothing when high < low."""
    return (1 << high + 1) - (1 << low) if high >= low else 0


def beyond_maxphyaddr(config: Config) -> int:
    return bits(51, config.maxphyaddr)


def is_leaf(entry: int, level: int) -> bool:
    """Only a PDPTE and a PDE have a PS bit that makes a leaf; a PTE is always one."""
    return level == 1 or (level in (2, 3) and bool(entry & PS))


def leaf_size(level: int) -> int:
    """Page size of a leaf of that level."""
    return level - 1


def x86_reserved(entry: int, level: int, config: Config, nxe: bool) -> bool:
    mask = beyond_maxphyaddr(config)
    if not nxe:
        mask |= NX
    if level >= 4 or (level == 3 and not config.one_gib_pages):
        mask |= PS
    elif level == 3 and entry & PS:
        mask |= bits(29, 13)
    elif level == 2 and entry & PS:
        mask |= bits(20, 13)
    return bool(entry & mask)


def npt_reserved(entry: int, level: int) -> bool:
    """What is reserved in a nested table besides what x86-64 reserves: bit 8 of PML5E and PML4E."""
    return level >= 4 and bool(entry & GLOBAL)


def ept_present(entry: int) -> bool:
    return bool(entry & 7)


def ept_misconfigured(entry: int, level: int, config: Config) -> bool:
    """Of a present entry: W without R, X alone when unsupported, a reserved bit, a reserved leaf memory
    type.
    """
    if entry & 3 == 2:
        return True
    if entry & 7 == 4 and not config.execute_only:
        return True
    mask = beyond_maxphyaddr(config)
    leaf_possible = level == 2 or (level == 3 and config.one_gib_pages)
    leaf = level == 1 or (leaf_possible and bool(entry & PS))
    if leaf:
        mask |= bits(PAGE_BITS[leaf_size(level)] - 1, 12)
    else:
        mask |= bits(7, 3) & ~(PS if leaf_possible else 0)
    if entry & mask:
        return True
    return leaf and entry >> 3 & 7 in (2, 3, 7)
