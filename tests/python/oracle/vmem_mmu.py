"""The MMU under test, behind the same two calls as the other."""

from __future__ import annotations

import numpy as np

import vmem

from .layout import MAXPHYADDR, MEMORY, PAGE, WINDOWS, Words, fill_data, window_of
from .machine_state import Access, Outcome, Registers

BARE = vmem.Cpu(l2=None, maxphyaddr=MAXPHYADDR)
CACHED = vmem.Cpu.preset("skylake-sp").replace(maxphyaddr=MAXPHYADDR)


class VmemMmu:
    """One memory and two MMUs on it: one with the first-level TLB alone, and one with every cache. What they
    cache must never show: between invalidations the tables change only by their own accessed and dirty bits.
    """

    def __init__(self) -> None:
        self._memory = vmem.PhysicalMemory(MEMORY)
        self.windows: dict[int, Words] = {
            base: self._memory.array[base : base + frames * PAGE].view(np.uint64)
            for base, frames in WINDOWS.items()
        }
        fill_data(self.windows)
        self._mmus = {False: vmem.Mmu(self._memory, BARE), True: vmem.Mmu(self._memory, CACHED)}

    def flush(self) -> None:
        """Before tables are edited."""
        for mmu in self._mmus.values():
            mmu.flush()

    def access(self, registers: Registers, access: Access, marker: int, cached: bool) -> Outcome:
        """One access. A store writes `marker`, which stays there."""
        mmu = self._mmus[cached]
        mmu.set_state(
            cr0=registers.cr0, cr3=registers.cr3, cr4=registers.cr4, efer=registers.efer,
            cpl=access.cpl, ac=access.ac, pkru=access.pkru,
        )  # fmt: skip
        if not cached:
            mmu.flush()
        result = mmu.access(access.va, access.kind)
        if result.fault is not None:
            if result.fault.vector == 14:
                return Outcome("page_fault", result.fault.address, result.fault.error_code)
            return Outcome("general_protection", None, result.fault.error_code)
        base = window_of(result.pa)
        if base is None:
            return Outcome("absent")
        if access.kind == "store":
            self.windows[base][(result.pa - base) // 8] = marker
        return Outcome("reached", result.pa)
