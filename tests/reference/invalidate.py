"""What every operation of the invalidation table drops (mmu.md, "Invalidation")."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reference.address import ADDRESS_FIELD, canonical
from reference.faults import Fault
from reference.state import CR4_PCIDE, CR4_PGE, CR4_SMEP, Context
from reference.tlb import TlbEntry

if TYPE_CHECKING:
    from reference.mmu import Mmu


def drop_tlb(mmu: Mmu, matches: Callable[[TlbEntry], bool]) -> None:
    for level in (mmu.l1i, mmu.l1d, mmu.l2):
        level.drop(matches)


def drop_structures(mmu: Mmu, matches: Callable[[Context], bool]) -> None:
    mmu.psc.drop(lambda structure: matches(structure.tag))


def drop_tagged(mmu: Mmu, matches: Callable[[Context], bool], globals_too: bool) -> None:
    """TLB entries and paging-structure caches by context."""
    drop_tlb(mmu, lambda e: matches(e.context) and (globals_too or not e.is_global))
    drop_structures(mmu, matches)


def drop_guest_page(mmu: Mmu, address: int, pcid: int, globals_too: bool) -> None:
    """TLB entries of the guest's page around the address, fractured ones too: current VPID, any root."""

    def condemned(entry: TlbEntry) -> bool:
        mine = globals_too if entry.is_global else entry.context.pcid == pcid
        return entry.context.vpid == mmu.state.vpid and mine and entry.in_same_guest_page(address)

    drop_tlb(mmu, condemned)


def drop_visible_guest_page(mmu: Mmu, address: int) -> None:
    """The same of the current context and its globals alone."""
    context = mmu.state.context
    drop_tlb(mmu, lambda e: e.visible_to(context) and e.in_same_guest_page(address))


def drop_pcid_structures(mmu: Mmu, pcid: int) -> None:
    """Paging-structure caches of one PCID of the current VPID, any root, any address."""
    drop_structures(mmu, lambda c: c.vpid == mmu.state.vpid and c.pcid == pcid)


def after_fault(mmu: Mmu, fault: Fault, address: int) -> None:
    """Everything that could make the fault recur without the tables being the reason."""
    context = mmu.state.context
    mmu.psc.drop_address(context, address)
    if fault.of_second_stage:
        drop_tlb(mmu, lambda e: e.visible_to(context) and e.covers(address))
        mmu.nested_tlb.drop_address(mmu.state.root, fault.gpa)
        mmu.host_psc.drop_address(mmu.state.root, fault.gpa)
    else:
        drop_visible_guest_page(mmu, address)


class Invalidations:
    """The instructions."""

    def invlpg(self: Mmu, address: int) -> None:  # type: ignore[misc]
        if not canonical(address, self.state.levels):
            return
        drop_guest_page(self, address, self.state.pcid, globals_too=True)
        drop_pcid_structures(self, self.state.pcid)

    def invpcid(self: Mmu, type_: int, pcid: int = 0, address: int = 0) -> None:  # type: ignore[misc]
        vpid = self.state.vpid
        if type_ == 0:
            if canonical(address, self.state.levels):
                drop_guest_page(self, address, pcid, globals_too=False)
                drop_pcid_structures(self, pcid)
            return
        self.counters.count("tlb_flushes")
        if type_ == 1:
            drop_tagged(self, lambda c: c.vpid == vpid and c.pcid == pcid, globals_too=False)
        else:
            drop_tagged(self, lambda c: c.vpid == vpid, globals_too=type_ == 2)

    def mov_cr3(self: Mmu, value: int) -> None:  # type: ignore[misc]
        keep = bool(value >> 63) and bool(self.state.cr4 & CR4_PCIDE)
        self.state.cr3 = value & ~(1 << 63)
        if keep:
            return
        self.counters.count("tlb_flushes")
        vpid, pcid = self.state.vpid, self.state.pcid
        drop_tagged(self, lambda c: c.vpid == vpid and c.pcid == pcid, globals_too=False)

    def mov_cr4(self: Mmu, value: int) -> None:  # type: ignore[misc]
        old, vpid, pcid = self.state.cr4, self.state.vpid, self.state.pcid
        self.state.cr4 = value
        if (old ^ value) & CR4_PGE or old & ~value & CR4_PCIDE:
            self.counters.count("tlb_flushes")
            drop_tagged(self, lambda c: c.vpid == vpid, globals_too=True)
        elif value & ~old & CR4_SMEP:
            self.counters.count("tlb_flushes")
            drop_tlb(self, lambda e: e.context.vpid == vpid and (e.is_global or e.context.pcid == pcid))
            drop_pcid_structures(self, pcid)

    def invvpid(self: Mmu, type_: int, vpid: int = 0, address: int = 0) -> bool:  # type: ignore[misc]
        """False: VMfail, error 28."""
        if type_ != 2 and vpid == 0:
            return False
        if type_ == 0:
            if not canonical(address, self.state.levels):
                return False
            drop_tlb(self, lambda e: e.context.vpid == vpid and e.in_same_guest_page(address))
            drop_structures(self, lambda c: c.vpid == vpid)
            return True
        self.counters.count("tlb_flushes")
        if type_ == 2:
            drop_tagged(self, lambda c: c.vpid != 0, globals_too=True)
        else:
            drop_tagged(self, lambda c: c.vpid == vpid, globals_too=type_ == 1)
        return True

    def invept(self: Mmu, type_: int, eptp: int = 0) -> None:  # type: ignore[misc]
        """A root of 0 names no second stage, so nothing is tagged with it."""
        self.counters.count("tlb_flushes")
        root = eptp & ADDRESS_FIELD

        def tagged(value: int) -> bool:
            return value != 0 and (type_ == 2 or value == root)

        drop_tagged(self, lambda c: tagged(c.root), globals_too=True)
        self.nested_tlb.drop(lambda p: tagged(p.root))
        self.host_psc.drop(lambda s: tagged(s.tag))

    def flush(self: Mmu) -> None:  # type: ignore[misc]
        self.counters.count("tlb_flushes")
        drop_tagged(self, lambda c: True, globals_too=True)
        self.nested_tlb.drop(lambda p: True)
        self.host_psc.drop(lambda s: True)
