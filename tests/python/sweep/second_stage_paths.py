"""Tables of both dimensions in which one page of guest-physical memory, a data page or a page table of the
guest, is mapped by every combination of entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

import vmem

from .second_stage_manual import (
    EPT_A,
    EPT_D,
    EPT_LEAF,
    EPT_W,
    MAXPHYADDR,
    PS,
    WRITE_BACK,
    A,
    D,
    Ept,
    Npt,
    P,
    R,
    U,
    Verdict,
    W,
    Want,
    X,
    ept,
    ept_guest_flag_not_writable,
    npt,
)

PAGE, LARGE_PAGE = 1 << 12, 1 << 21
MEMORY = 1 << 40
HOST_ROOT = 0x10_0000  # its tables follow
GUEST_ROOT = 0x1000_0000  # its tables follow; guest-physical and machine address, since mapped one to one
DATA = 0x2000_0000  # also
TARGETS = 0x40_0000_0000  # machine addresses that the tested leaves name
OFFSET = 0x18  # in the page in question, of the data or the guest's entry
X86_TABLE = P | W | U | A
CR0, CR4, EFER = 1 << 31 | 1, 1 << 5, 1 << 8 | 1 << 10 | 1 << 11
EPTP_WRITE_BACK, EPTP_FOUR_LEVELS, EPTP_AD = 6, 3 << 3, 1 << 6

Stage = Ept | Npt
Target = Literal["data", "table"]
Kind = Literal["load", "store", "fetch"]


def shift(level: int) -> int:
    return 12 + 9 * (level - 1)


class Tree:
    """A table of four levels whose tables grant everything and are used already."""

    def __init__(self, words: np.ndarray, root: int, flags: int) -> None:
        self._words, self._flags, self._next = words, flags, root
        self._tables = {(5, 0): root}

    def table(self, address: int, level: int) -> int:
        """The table of `level` on the way to `address`, made if need be."""
        key = (level + 1, address >> shift(level + 1))
        if key not in self._tables:
            self._next += PAGE
            self._tables[key] = self._next
            self._words[self.entry(address, level + 1)] = self._next | self._flags
        return self._tables[key]

    def entry(self, address: int, level: int) -> int:
        """Index of the word that holds the entry of `level` for `address`."""
        return self.table(address, level) // 8 + (address >> shift(level) & 511)


@dataclass
class SecondStagePaths:
    """Path (u, k) goes through `uppers[u]`, an entry of level `leaf_level` + 1, and a copy of `leaves[k]` of
    its own; neither has an address yet. The page it maps is where a linear address leads, or the last table
    on the way.
    """

    leaf_level: int
    target: Target
    uppers: list[int]
    leaves: list[int]
    stage: Stage

    def __post_init__(self) -> None:
        is_ept = isinstance(self.stage, Ept)
        memory = vmem.PhysicalMemory(MEMORY)
        self._words = memory.array.view(np.uint64)
        host = Tree(self._words, HOST_ROOT, R | EPT_W | X | EPT_A if is_ept else X86_TABLE)
        guest = Tree(self._words, GUEST_ROOT, X86_TABLE)
        large = R | EPT_W | X | EPT_A | EPT_D | EPT_LEAF | WRITE_BACK if is_ept else X86_TABLE | D | PS
        for page in (GUEST_ROOT, DATA):
            self._words[host.entry(page, 2)] = page | large
        self._upper_at = [host.entry(self.gpa(u, 0), self.leaf_level + 1) for u in range(len(self.uppers))]
        self._leaf_table = [host.table(self.gpa(u, 0), self.leaf_level) for u in range(len(self.uppers))]
        for u, table in enumerate(self._leaf_table):
            for k, leaf in enumerate(self.leaves):
                self._words[self._upper_at[u]] = self.uppers[u] | table
                self._words[table // 8 + k] = leaf | self._hpa(k)
                level = 1 if self.target == "data" else 2
                self._words[guest.entry(self.va(u, k), level)] = self.gpa(u, k) | X86_TABLE | D * (level == 1)
        self.mmu = self._new_mmu(memory)

    def _new_mmu(self, memory: vmem.PhysicalMemory) -> vmem.Mmu:
        execute_only = isinstance(self.stage, Ept) and self.stage.execute_only
        mmu = vmem.Mmu(memory, vmem.Cpu(l2=None, maxphyaddr=MAXPHYADDR, execute_only=execute_only))
        mmu.set_state(cr0=CR0, cr3=GUEST_ROOT, cr4=CR4, efer=EFER, cpl=3)
        if isinstance(self.stage, Ept):
            flags = EPTP_WRITE_BACK | EPTP_FOUR_LEVELS | (EPTP_AD if self.stage.accessed_dirty else 0)
            mmu.set_state(eptp=HOST_ROOT | flags)
        else:
            mmu.set_state(ncr3=HOST_ROOT)
        return mmu

    def gpa(self, u: int, k: int) -> int:
        return (1 << 39) + (u << shift(self.leaf_level + 1)) + (k << shift(self.leaf_level))

    def va(self, u: int, k: int) -> int:
        if self.target == "data":
            return u << shift(2) | k << shift(1) | OFFSET
        return u << shift(3) | k << shift(2) | OFFSET // 8 << shift(1)

    def _hpa(self, k: int) -> int:
        return TARGETS + (k << shift(self.leaf_level))

    def _translate(self, u: int, k: int, want: Want) -> Verdict:
        upper, leaf = self.uppers[u] | self._leaf_table[u], self.leaves[k] | self._hpa(k)
        if isinstance(self.stage, Ept):
            return ept(upper, leaf, self.leaf_level, want, self.stage)
        return npt(upper, leaf, self.leaf_level, want)

    def expect(self, u: int, k: int, kind: Kind, pte: int) -> tuple[tuple[object, ...], Verdict, int]:
        """What comes of an access, the tested entries afterwards, and the guest's last entry, which was
        `pte`.
        """
        if self.target == "data":
            verdict = self._translate(u, k, kind)
            return self._outcome(verdict.fault, u, k, self._hpa(k) + OFFSET), verdict, pte
        verdict = self._translate(u, k, "table")
        if verdict.fault:
            return self._outcome(verdict.fault, u, k, 0), verdict, pte
        used = pte | A | (D if kind == "store" else 0)
        if used != pte and isinstance(self.stage, Ept) and not verdict.rights & EPT_W:
            return self._outcome(ept_guest_flag_not_writable(verdict.rights), u, k, 0), verdict, pte
        return ("reached", DATA), verdict, used

    def _outcome(self, fault: tuple[str, int] | None, u: int, k: int, hpa: int) -> tuple[object, ...]:
        return (*fault, self.gpa(u, k) + OFFSET) if fault else ("reached", hpa)

    def differences(self, kind: Kind, guest_flags: int = A | D) -> list[str]:
        """Makes one access of `kind` on every path, the guest's last entry having `guest_flags`; what was not
        as expected.
        """
        self.mmu.flush()
        found = []
        for u in range(len(self.uppers)):
            for k in range(len(self.leaves)):
                found += self._difference(u, k, kind, DATA | P | W | U | guest_flags)
        return found

    def _difference(self, u: int, k: int, kind: Kind, pte: int) -> list[str]:
        words = self._words
        upper_at, leaf_at, pte_at = (
            self._upper_at[u],
            self._leaf_table[u] // 8 + k,
            (self._hpa(k) + OFFSET) // 8,
        )
        if self.target == "table":
            words[pte_at] = pte
        before = int(words[upper_at]), int(words[leaf_at])
        result = self.mmu.access(self.va(u, k), kind)
        after = int(words[upper_at]), int(words[leaf_at])
        pte_after = int(words[pte_at]) if self.target == "table" else pte
        words[upper_at], words[leaf_at] = before
        expected, verdict, expected_pte = self.expect(u, k, kind, pte)
        outcome = self._observed(result)
        if (outcome, *after, pte_after) == (expected, verdict.upper, verdict.leaf, expected_pte):
            return []
        return [
            (
                f"{kind} through {before[0]:#x}, {before[1]:#x}, guest's {pte:#x}: {outcome}, then "
                f"{after[0]:#x}, {after[1]:#x}, {pte_after:#x}; expected {expected}, then "
                f"{verdict.upper:#x}, {verdict.leaf:#x}, {expected_pte:#x}"
            )
        ]

    @staticmethod
    def _observed(result: vmem._core.AccessResult) -> tuple[object, ...]:
        fault = result.fault
        if fault is None:
            return ("reached", result.pa)
        code = fault.error_code if fault.kind == "nested_page_fault" else fault.ept_qualification
        return (fault.kind, code, fault.gpa)
