"""Hand-made tables of both dimensions, over an Mmu of the silicon alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import vmem

from .machine_state import CR4_LA57, CR4_PAE, LONG_MODE_CR0, LONG_MODE_EFER, PS, P, U, W
from .published_counts import PAGES

Format = Literal["none", "ept", "ept with A/D", "npt"]
SECOND_STAGES: tuple[Format, ...] = ("ept", "ept with A/D", "npt")

GIB = 1 << 30
HOST_TABLES = 1 << 20  # machine addresses from here up
MACHINE_OF_GUEST = 64 * GIB  # what guest-physical address 0 is
MEMORY = 128 * GIB
EPT_ALL, EPT_WRITE_BACK, EPT_LEAF, EPTP_AD = 7, 6 << 3, 1 << 7, 1 << 6


def level_shift(level: int) -> int:
    return 12 + 9 * (level - 1)


def leaf_level(page: str) -> int:
    return PAGES.index(page) + 1


@dataclass
class Table:
    """One dimension's table. `levels` deep, its entries written by the rules of `is_ept`."""

    memory: vmem.PhysicalMemory
    levels: int
    root: int  # machine address
    is_ept: bool

    def put(self, table: int, address: int, level: int, target: int, leaf: bool) -> None:
        if self.is_ept:
            flags = EPT_ALL | (EPT_WRITE_BACK if leaf else 0) | (EPT_LEAF if leaf and level > 1 else 0)
        else:
            flags = P | W | U | (PS if leaf and level > 1 else 0)
        at = table + 8 * (address >> level_shift(level) & 511)
        self.memory.write(at, (target | flags).to_bytes(8, "little"))


class Host:
    """gPA → machine, on demand, always with pages of one size."""

    def __init__(self, memory: vmem.PhysicalMemory, levels: int, page: str, is_ept: bool) -> None:
        self.page_level = leaf_level(page)
        self._next = HOST_TABLES
        self._table = Table(memory, levels, self._new_table(), is_ept)
        self._known: dict[tuple[int, int], int] = {}

    @property
    def root(self) -> int:
        return self._table.root

    def _new_table(self) -> int:
        self._next += 4096
        return self._next

    def back(self, gpa: int) -> int:
        """Its machine address; maps the page around it."""
        table = self._table.root
        for level in range(self._table.levels, self.page_level, -1):
            key = (level, gpa >> level_shift(level))
            if key not in self._known:
                self._known[key] = self._new_table()
                self._table.put(table, gpa, level, self._known[key], leaf=False)
            table = self._known[key]
        base = gpa >> level_shift(self.page_level) << level_shift(self.page_level)
        self._table.put(table, gpa, self.page_level, MACHINE_OF_GUEST + base, leaf=True)
        return MACHINE_OF_GUEST + gpa


class Guest:
    """gVA → gPA. With `spread` no two of its tables share a page of the host, however large; else all are
    neighbours, and the data with them as far as its alignment allows.
    """

    def __init__(
        self, memory: vmem.PhysicalMemory, levels: int, page: str, host: Host | None, spread: bool
    ) -> None:
        self.page_level = leaf_level(page)
        self.levels = levels
        self._host = host
        self._step = GIB + 2**21 + 4096 if spread else 4096
        self._next_table = 0
        self._next_data = 32 * GIB if spread or page != "4KiB" else 256 * 4096
        self.root_gpa, root = self._new_table()
        self._table = Table(memory, levels, root, is_ept=False)
        self._known: dict[tuple[int, int], tuple[int, int]] = {}

    def _place(self, gpa: int) -> int:
        return self._host.back(gpa) if self._host else MACHINE_OF_GUEST + gpa

    def _address(self, gpa: int) -> int:
        """How an entry names it."""
        return gpa if self._host else MACHINE_OF_GUEST + gpa

    def _new_table(self) -> tuple[int, int]:
        """(name of the table in an entry above it, machine address)."""
        self._next_table += self._step
        return self._address(self._next_table), self._place(self._next_table)

    def new_data(self) -> int:
        """The gPA of a page of the guest's size that nothing else has."""
        size = 1 << level_shift(self.page_level)
        step = max(size, self._step if self._step > 4096 else size)
        self._next_data = -(-(self._next_data + step) // size) * size
        return self._next_data

    def map(self, va: int, data: int) -> int:
        """Maps the page around `va` to the gPA `data`. Returns where `va` is in the machine."""
        table = self._table.root
        for level in range(self.levels, self.page_level, -1):
            key = (level, va >> level_shift(level))
            if key not in self._known:
                self._known[key] = self._new_table()
                self._table.put(table, va, level, self._known[key][0], leaf=False)
            table = self._known[key][1]
        self._table.put(table, va, self.page_level, self._address(data), leaf=True)
        return self._place(data + (va & (1 << level_shift(self.page_level)) - 1))


class Bench:
    """An Mmu over a guest's table and a host's, with only the caches that `cpu` has."""

    def __init__(
        self,
        cpu: vmem.Cpu,
        guest: tuple[int, str],
        host: tuple[int, str] | None,
        second_stage: Format = "ept",
        spread: bool = True,
    ) -> None:
        memory = vmem.PhysicalMemory(MEMORY)
        levels, page = guest
        is_ept = second_stage != "npt"
        self.host = Host(memory, *host, is_ept=is_ept) if host else None
        self.guest = Guest(memory, levels, page, self.host, spread)
        self.mmu = vmem.Mmu(memory, cpu.replace(maxphyaddr=46, host_levels=host[0] if host else 4))
        self.mmu.set_state(
            cr0=LONG_MODE_CR0, cr3=self.guest.root_gpa, efer=LONG_MODE_EFER, cpl=3,
            cr4=CR4_PAE | (CR4_LA57 if levels == 5 else 0),
        )  # fmt: skip
        if self.host and host:
            if is_ept:
                walk_length = host[0] - 1 << 3
                eptp = self.host.root | 6 | walk_length | (EPTP_AD if second_stage == "ept with A/D" else 0)
                self.mmu.set_state(eptp=eptp)
            else:
                self.mmu.set_state(ncr3=self.host.root)

    def reads(
        self, va: int, expected: int, kind: Literal["load", "store", "fetch"] = "load"
    ) -> tuple[int, int]:
        """Reads in the guest's and in the host's table that one access takes; it must miss the TLB and arrive
        at the machine address `expected`.
        """
        before = self.mmu.counters()
        result = self.mmu.access(va, kind)
        after = self.mmu.counters()
        assert result.ok, vars(result.fault)
        assert result.pa == expected
        guest, host, total, misses = (
            after[name] - before[name]
            for name in ("walk_refs_guest", "walk_refs_host", "walk_refs", "tlb_misses")
        )
        assert misses == 1
        assert total == guest + host
        return guest, host
