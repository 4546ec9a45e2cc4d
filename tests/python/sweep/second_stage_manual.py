"""What the manuals say of one second-stage translation: SDM vol. 3, 29.3 (EPT); AMD APM vol. 2, 15.25 (NPT).

The path has two entries that matter, a table's and a leaf's below it; all others grant everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

MAXPHYADDR = 46
ADDRESS = 0x000F_FFFF_FFFF_F000
BEYOND_MAXPHYADDR = ADDRESS & -(1 << MAXPHYADDR)

# What is wanted of the second stage: the access itself, or a guest table on the way to it.
Want = Literal["load", "store", "fetch", "table"]

# EPT entries and EPTP.
R, EPT_W, X, EPT_LEAF, EPT_A, EPT_D = 1 << 0, 1 << 1, 1 << 2, 1 << 7, 1 << 8, 1 << 9
WRITE_BACK = 6 << 3
BAD_MEMORY_TYPES = (2, 3, 7)
# Exit qualification (table 28-7): the access in bits 2:0, what the entries permit in 5:3.
Q_READ, Q_WRITE, Q_FETCH, Q_RIGHTS, Q_LINEAR_VALID, Q_FINAL = 1 << 0, 1 << 1, 1 << 2, 3, 1 << 7, 1 << 8

# NPT entries: those of ordinary paging, with EFER.NXE set.
P, W, U, A, D, PS, NX = 1 << 0, 1 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 7, 1 << 63
# EXITINFO1.
I_P, I_W, I_U, I_RSVD, I_ID, I_FINAL, I_TABLE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 32, 1 << 33


@dataclass(frozen=True)
class Ept:
    accessed_dirty: bool
    execute_only: bool


@dataclass(frozen=True)
class Npt:
    pass


class Verdict(NamedTuple):
    """`fault`: kind and code, or None. `rights`: what the path permits, EPT's bits 2:0. The entries
    afterwards.
    """

    fault: tuple[str, int] | None
    upper: int
    leaf: int
    rights: int = 7


def below_page(level: int) -> int:
    """Address bits of a leaf that lie below its page."""
    return (1 << 12 + 9 * (level - 1)) - (1 << 12)


def ept_misconfigured(entry: int, level: int, is_leaf: bool, stage: Ept) -> bool:
    """29.3.3.1."""
    rights = entry & (R | EPT_W | X)
    if rights in (EPT_W, EPT_W | X) or (rights == X and not stage.execute_only):
        return True
    if entry & BEYOND_MAXPHYADDR:
        return True
    if is_leaf:
        return (entry >> 3 & 7) in BAD_MEMORY_TYPES or entry & below_page(level) != 0
    return entry & (0b1111000 | (EPT_LEAF if level > 3 else 0)) != 0


def ept(upper: int, leaf: int, leaf_level: int, want: Want, stage: Ept) -> Verdict:
    # 29.3.5: with accessed and dirty flags, accesses to guest tables are writes. What they report is read and
    # write.
    needed = {"load": R, "store": EPT_W, "fetch": X, "table": R | EPT_W if stage.accessed_dirty else R}[want]
    code = needed | Q_LINEAR_VALID | (0 if want == "table" else Q_FINAL)
    rights, after_upper = R | EPT_W | X, upper
    for entry, level in ((upper, leaf_level + 1), (leaf, leaf_level)):
        rights &= entry
        if not entry & (R | EPT_W | X):
            return Verdict(("ept_violation", code), after_upper, leaf, 0)
        if ept_misconfigured(entry, level, level == leaf_level, stage):
            return Verdict(("ept_misconfiguration", 0), after_upper, leaf)
        if level > leaf_level and stage.accessed_dirty:
            after_upper |= EPT_A
    if needed & ~rights:
        return Verdict(("ept_violation", code | rights << Q_RIGHTS), after_upper, leaf, rights)
    if not stage.accessed_dirty:
        return Verdict(None, upper, leaf, rights)
    return Verdict(None, after_upper, leaf | EPT_A | (EPT_D if needed & EPT_W else 0), rights)


def ept_guest_flag_not_writable(rights: int) -> tuple[str, int]:
    """A guest's accessed or dirty flag must be set, but its table may only be read."""
    return ("ept_violation", Q_WRITE | rights << Q_RIGHTS | Q_LINEAR_VALID)


def npt_reserved(entry: int, level: int, is_leaf: bool) -> bool:
    """Address bits; PS where no leaf can be; bit 8 of the two topmost levels."""
    if is_leaf:
        return entry & (BEYOND_MAXPHYADDR | below_page(level) & ~(1 << 12)) != 0
    return entry & (BEYOND_MAXPHYADDR | (PS | 1 << 8 if level > 3 else 0)) != 0


def npt(upper: int, leaf: int, leaf_level: int, want: Want) -> Verdict:
    """Every access is a user access; an access to a guest table is a write."""
    is_write = want in ("store", "table")
    code = I_U | is_write * I_W | (want == "fetch") * I_ID | (I_TABLE if want == "table" else I_FINAL)
    after_upper = upper
    for entry, level in ((upper, leaf_level + 1), (leaf, leaf_level)):
        if not entry & P:
            return Verdict(("nested_page_fault", code), after_upper, leaf)
        if npt_reserved(entry, level, level == leaf_level):
            return Verdict(("nested_page_fault", code | I_P | I_RSVD), after_upper, leaf)
        if level > leaf_level:
            after_upper |= A
    permitted = upper & leaf & U and (not is_write or upper & leaf & W)
    if not permitted or (want == "fetch" and (upper | leaf) & NX):
        return Verdict(("nested_page_fault", code | I_P), after_upper, leaf)
    return Verdict(None, after_upper, leaf | A | is_write * D)
