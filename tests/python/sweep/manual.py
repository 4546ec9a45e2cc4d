"""What the SDM says of one access in one dimension (vol. 3, 4.5 to 4.8), for many page-table paths at once:
an array has one element a path. Written from the manual as tables of rules; shares nothing with the
simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

P, W, U, A, D, PS, NX = 1 << 0, 1 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 7, 1 << 63
KEY_SHIFT = 59
ADDRESS = 0x000F_FFFF_FFFF_F000
# #PF error code (4.7).
E_P, E_W, E_U, E_RSVD, E_ID, E_PK = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5


@dataclass(frozen=True)
class Control:
    """The control registers and PKRU, and how many address bits the processor has."""

    wp: bool = True
    nxe: bool = True
    smep: bool = False
    smap: bool = False
    ac: bool = False
    pke: bool = False
    pkru: int = 0
    maxphyaddr: int = 36


@dataclass(frozen=True)
class Access:
    user: bool
    write: bool
    fetch: bool


@dataclass
class Page:
    """What a walk that reached a leaf has found."""

    writable: Flags  # R/W in every entry
    user: Flags  # U/S in every entry
    executable: Flags  # XD in none
    key: Words

    def denied_by_key(self, control: Control, which: int) -> Flags:
        """PKRU has two bits a key: 0 access-disable, 1 write-disable."""
        return (np.uint64(control.pkru) >> (2 * self.key + np.uint64(which)) & np.uint64(1)) != 0


# What denies an access: a property of the page, under circumstances.
Rule = tuple[Callable[[Page, Control], Flags], Callable[[Access, Control], bool]]

# 4.6.1
ACCESS_RIGHTS: dict[str, Rule] = {
    "user access to a supervisor page": (
        lambda page, _: ~page.user,
        lambda access, _: access.user,
    ),
    "user store to a read-only page": (
        lambda page, _: ~page.writable,
        lambda access, _: access.user and access.write,
    ),
    "supervisor store to a read-only page, CR0.WP": (
        lambda page, _: ~page.writable,
        lambda access, control: not access.user and access.write and control.wp,
    ),
    "fetch from an execute-disabled page": (
        lambda page, _: ~page.executable,
        lambda access, control: access.fetch and control.nxe,
    ),
    "supervisor fetch from a user page, CR4.SMEP": (
        lambda page, _: page.user,
        lambda access, control: not access.user and access.fetch and control.smep,
    ),
    "supervisor data access to a user page, CR4.SMAP, not EFLAGS.AC": (
        lambda page, _: page.user,
        lambda access, control: not access.user and not access.fetch and control.smap and not control.ac,
    ),
}

# 4.6.2: with CR4.PKE, data accesses to user pages.
PROTECTION_KEYS: dict[str, Rule] = {
    "access disabled": (
        lambda page, control: page.user & page.denied_by_key(control, 0),
        lambda access, control: control.pke and not access.fetch,
    ),
    "write disabled, user access or CR0.WP": (
        lambda page, control: page.user & page.denied_by_key(control, 1),
        lambda access, control: control.pke and access.write and (access.user or control.wp),
    ),
}


def any_rule(rules: dict[str, Rule], page: Page, access: Access, control: Control) -> Flags:
    return np.logical_or.reduce(
        [denies(page, control) & circumstances(access, control) for denies, circumstances in rules.values()]
    )


def reserved_bits(level: int, leaf: Flags, control: Control) -> Words:
    """4.5: bits that must be zero in an entry of this level."""
    in_all = ADDRESS & -(1 << control.maxphyaddr) | (0 if control.nxe else NX)
    no_leaf_here = PS if level >= 4 else 0
    below_page = (1 << 12 + 9 * (level - 1)) - (1 << 13) if level in (2, 3) else 0
    return np.where(leaf, np.uint64(in_all | below_page), np.uint64(in_all | no_leaf_here))


@dataclass
class Expected:
    """`reached`: the access goes to `address`; else it is a page fault with `error_code`. `entries`: what the
    tables hold afterwards, from the root's entry down.
    """

    reached: Flags
    address: Words
    error_code: Words
    entries: list[Words]


def expect(entries: list[Words], va: Words, access: Access, control: Control) -> Expected:
    """`entries`: of every level, the root's first; those below a leaf or a fault are not read."""
    count = len(va)
    walking = np.ones(count, bool)
    not_present, reserved, reached_leaf = (np.zeros(count, bool) for _ in range(3))
    page = Page(*(np.ones(count, bool) for _ in range(3)), np.zeros(count, np.uint64))
    address, after = np.zeros(count, np.uint64), [entry.copy() for entry in entries]
    leaf_at = np.zeros(count, int)

    for level in range(len(entries), 0, -1):
        entry = entries[len(entries) - level]
        present = entry & P != 0
        leaf = np.full(count, level == 1) | ((entry & PS != 0) & (level in (2, 3)))
        bad = present & (entry & reserved_bits(level, leaf, control) != 0)
        not_present |= walking & ~present
        reserved |= walking & bad
        walking &= present & ~bad
        page.writable &= ~walking | (entry & W != 0)
        page.user &= ~walking | (entry & U != 0)
        page.executable &= ~walking | (entry & NX == 0)
        ends = walking & leaf
        page.key = np.where(ends, entry >> np.uint64(KEY_SHIFT) & np.uint64(15), page.key)
        below = np.uint64((1 << 12 + 9 * (level - 1)) - 1)
        address = np.where(ends, entry & ADDRESS & ~below | va & below, address)
        leaf_at[ends] = level
        reached_leaf |= ends
        walking &= ~leaf
        # 4.8: an entry that names a table is used by the walk, whatever comes of it further down. (The manual
        # lets a processor set the flag; docs/design/mmu.md says that this one does.)
        after[len(entries) - level][walking] |= np.uint64(A)

    denied = any_rule(ACCESS_RIGHTS, page, access, control)
    key_denied = any_rule(PROTECTION_KEYS, page, access, control)
    reached = reached_leaf & ~denied & ~key_denied
    for level in range(1, len(entries) + 1):
        used = reached & (leaf_at == level)
        after[len(entries) - level][used] |= np.uint64(A | (D if access.write else 0))

    error_code = page_fault_code(access, control)
    error_code = error_code | np.where(not_present, 0, E_P) | np.where(reserved, E_RSVD, 0)
    error_code |= np.where(reached_leaf & key_denied, E_PK, 0)
    return Expected(reached, address, error_code.astype(np.uint64), after)


def page_fault_code(access: Access, control: Control) -> int:
    """4.7: what the error code says of the access itself."""
    fetch_is_told = control.nxe or control.smep
    return access.write * E_W | access.user * E_U | (access.fetch and fetch_is_told) * E_ID
