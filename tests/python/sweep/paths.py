"""Many page-table paths in one memory, so that a sweep writes its tables once and then only accesses."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

import vmem

from .manual import KEY_SHIFT, NX, PS, A, Access, Control, D, Expected, P, U, W, Words, expect

PAGE = 4096
PER_TABLE = 512
ROOT = PAGE
DATA = 0x4000_0000  # where every path leads to
MEMORY = 1 << 31
CR0_PE, CR0_PG, CR4_PAE, EFER_LME, EFER_LMA = 1 << 0, 1 << 31, 1 << 5, 1 << 8, 1 << 10

BIT_51, BIT_36, BIT_13 = 1 << 51, 1 << 36, 1 << 13
# At most one reserved bit in both entries together: (of the PDE, of the PTE). Bit 13 is reserved in a large
# leaf.
RESERVED_OF_TABLE = ((0, 0), (BIT_51, 0), (BIT_36, 0), (0, BIT_51), (0, BIT_36))
RESERVED_OF_LEAF = (*RESERVED_OF_TABLE, (BIT_13, 0))
NOT_RESERVED = ((0, 0),)


def subsets(bits: Iterable[int]) -> list[int]:
    """Every OR of some of the bits."""
    return [sum(chosen) for chosen in itertools.product(*((0, bit) for bit in bits))]


PTE_FLAGS = subsets((P, W, U, A, D, NX))
PDE_FLAGS = subsets((P, W, U, A, D, NX, PS))


@dataclass
class Paths:
    """Each array has one element a path; lists are by level, the root's first. `at`: where entries stand."""

    va: Words
    entries: list[Words]
    at: list[Words]

    def __post_init__(self) -> None:
        self._memory = vmem.PhysicalMemory(MEMORY)
        self._words = self._memory.array.view(np.uint64)
        self._addresses = self.va.tolist()

    def __len__(self) -> int:
        return len(self._addresses)

    def mmu(self, control: Control) -> vmem.Mmu:
        """One with nothing cached, over tables as they were."""
        for at, entry in zip(self.at, self.entries, strict=True):
            self._words[at // 8] = entry
        mmu = vmem.Mmu(self._memory, vmem.Cpu(maxphyaddr=control.maxphyaddr))
        la57 = len(self.entries) == 5
        mmu.set_state(
            cr0=CR0_PE | CR0_PG | control.wp << 16,
            cr3=ROOT,
            cr4=CR4_PAE | la57 << 12 | control.smep << 20 | control.smap << 21 | control.pke << 22,
            efer=EFER_LME | EFER_LMA | control.nxe << 11,
            pkru=control.pkru,
            ac=control.ac,
        )
        return mmu

    def expect(self, access: Access, control: Control, before: Expected | None = None) -> Expected:
        """`before`: what an access before this one left in the tables."""
        return expect(before.entries if before else self.entries, self.va, access, control)

    def access_all(self, mmu: vmem.Mmu, access: Access) -> list[tuple[int, int]]:
        """(1, physical address) or (0, error code) of one access on each path."""
        mmu.set_state(cpl=3 if access.user else 0)
        kind = "fetch" if access.fetch else "store" if access.write else "load"
        found = []
        for va in self._addresses:
            result = mmu.access(va, kind)
            fault = result.fault
            if fault is None:
                found.append((1, result.pa))
            else:
                if fault.vector != 14 or fault.address != va:
                    raise AssertionError(f"{kind} of {va:#x}: {fault.kind} at {fault.address:#x}")
                found.append((0, fault.error_code))
        return found

    def differences(self, found: list[tuple[int, int]], expected: Expected) -> list[str]:
        """Outcomes and table entries that are not as expected; the first few of them."""
        outcomes = np.array(found, np.uint64)
        right = (outcomes[:, 0] == expected.reached) & (
            outcomes[:, 1] == np.where(expected.reached, expected.address, expected.error_code)
        )
        after = [self._words[at // 8] for at in self.at]
        for entry, expected_entry in zip(after, expected.entries, strict=True):
            right &= entry == expected_entry
        return [self._describe(int(k), outcomes, after, expected) for k in np.flatnonzero(~right)[:5]]

    def _describe(self, k: int, outcomes: Words, after: list[Words], expected: Expected) -> str:
        def entries(of_levels: list[Words]) -> str:
            return " ".join(f"{int(entry[k]):#x}" for entry in of_levels)

        wanted = expected.address[k] if expected.reached[k] else expected.error_code[k]
        return (
            f"entries {entries(self.entries)}: {outcomes[k][0]} {outcomes[k][1]:#x}, then {entries(after)}; "
            f"expected {int(expected.reached[k])} {wanted:#x}, then {entries(expected.entries)}"
        )


def lower_entries(reserved: bool, pde_key: int = 0, pte_key: int = 0) -> Paths:
    """Every PDE with every PTE; each pair with every reserved bit that may be set alone if `reserved`.

    Path k has the PDE and the PTE at index k % 512 of page directory and page table k // 512, for itself
    alone.
    """
    pairs = np.array(
        [
            (pde | pde_reserved | pde_key << KEY_SHIFT, pte | pte_reserved | pte_key << KEY_SHIFT)
            for pde in PDE_FLAGS
            for pde_reserved, pte_reserved in _reserved(pde, reserved)
            for pte in PTE_FLAGS
        ],
        np.uint64,
    )
    number = np.arange(len(pairs), dtype=np.uint64)
    table, index = number // PER_TABLE, number % PER_TABLE
    tables = -(-len(pairs) // PER_TABLE)
    pdpt, directories, page_tables = (ROOT + PAGE * n for n in (1, 2, 2 + tables))
    flags = P | W | U | A
    below_pde = np.where(pairs[:, 0] & PS != 0, np.uint64(DATA), page_tables + table * PAGE)
    return Paths(
        va=table << 30 | index << 21 | index << 12 | np.uint64(0x8A8),
        entries=[
            np.full(len(pairs), pdpt | flags, np.uint64),
            directories + table * PAGE | flags,
            pairs[:, 0] | below_pde,
            pairs[:, 1] | np.uint64(DATA),
        ],
        at=[
            np.full(len(pairs), ROOT, np.uint64),
            pdpt + 8 * table,
            directories + 8 * number,
            page_tables + 8 * number,
        ],
    )


def _reserved(pde: int, reserved: bool) -> tuple[tuple[int, int], ...]:
    if not reserved:
        return NOT_RESERVED
    return RESERVED_OF_LEAF if pde & PS else RESERVED_OF_TABLE


def rights_of_every_level(levels: int, leaf_level: int) -> Paths:
    """Every combination of R/W, U/S and XD in every level. All paths share one table a level, whose entries
    are used already: accesses change nothing.
    """
    variants = np.array(subsets((W, U, NX)), np.uint64) | np.uint64(P | A | D)
    depth = levels - leaf_level + 1
    index = np.indices((len(variants),) * depth).reshape(depth, -1).astype(np.uint64)
    va = np.full(index.shape[1], 0x8A8, np.uint64)
    entries, at = [], []
    for step in range(levels):
        level, table = levels - step, ROOT + PAGE * step
        if level < leaf_level:  # never read
            entries.append(np.zeros(len(va), np.uint64))
            at.append(np.full(len(va), table, np.uint64))
            continue
        va |= index[step] << np.uint64(12 + 9 * (level - 1))
        is_leaf = level == leaf_level
        target = DATA | (PS if level > 1 else 0) if is_leaf else table + PAGE
        entries.append(variants[index[step]] | np.uint64(target))
        at.append(table + 8 * index[step])
    return Paths(va, entries, at)
