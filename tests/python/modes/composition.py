"""The guest's page table and the hypervisor's map put together, from bytes and dumps alone."""

from __future__ import annotations

import bisect
import struct

import vmem

PAGE = 4096
ADDRESS = 0x000F_FFFF_FFFF_F000
PRESENT, LARGE = 1, 1 << 7


class Composition:
    """gVA → hPA of one process, as of now."""

    def __init__(self, vm: vmem.Vm, process: vmem.Process, levels: int = 4) -> None:
        self._memory = vm.read_physical(0, vm.memory)
        self._root = process.page_table_root
        self._levels = levels
        self._pages = vm.second_stage()
        self._first = [page.gfn for page in self._pages]

    def guest_physical(self, address: int) -> int | None:
        """By the guest's own table."""
        table = self._root
        for level in range(self._levels, 0, -1):
            shift = 12 + 9 * (level - 1)
            at = table + 8 * (address >> shift & 511)
            (entry,) = struct.unpack_from("<Q", self._memory, at)
            if not entry & PRESENT:
                return None
            if level == 1 or entry & LARGE:
                offset = (1 << shift) - 1
                return (entry & ADDRESS & ~offset) | (address & offset)
            table = entry & ADDRESS
        return None

    def machine(self, address: int) -> int:
        """By the hypervisor's map of that; vmem.UNMAPPED if either ends."""
        physical = self.guest_physical(address)
        if physical is None:
            return int(vmem.UNMAPPED)
        at = bisect.bisect_right(self._first, physical // PAGE) - 1
        if at < 0 or physical // PAGE >= self._pages[at].gfn + self._pages[at].frames:
            return int(vmem.UNMAPPED)
        return (self._pages[at].hfn + physical // PAGE - self._pages[at].gfn) * PAGE + physical % PAGE
