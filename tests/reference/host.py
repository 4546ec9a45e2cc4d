"""Host translation of a guest-physical address (mmu.md, "The walk, two dimensions")."""

from __future__ import annotations

from reference.address import ADDRESS_FIELD, PAGE_BITS, page_number, table_index
from reference.entries import (
    EPT_A,
    EPT_D,
    A,
    D,
    ept_misconfigured,
    ept_present,
    is_leaf,
    leaf_size,
    npt_reserved,
    x86_reserved,
)
from reference.faults import Fault
from reference.parts import Parts
from reference.permissions import ERROR_I, ERROR_P, ERROR_RSVD, ERROR_U, ERROR_W, HostRights
from reference.structure_caches import HostPage

LINEAR_VALID, FINAL = 1 << 7, 1 << 8
NPF_FINAL, NPF_TABLE = 1 << 32, 1 << 33
NOTHING = HostRights(False, False, False)
ACCESS_BIT = {"load": 1, "store": 2, "fetch": 4}


class Host:
    """The second dimension."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.config, self.memory, self.state, self.counters = (
            parts.config,
            parts.memory,
            parts.state,
            parts.counters,
        )

    @property
    def levels(self) -> int:
        """EPTP bits 5:3 plus one; NPT has the levels of the processor's hypervisor."""
        if self.state.second_stage == "ept":
            return (self.state.eptp >> 3 & 7) + 1
        return self.config.host_levels

    def table_page(self, gpa: int) -> HostPage:
        """Of a page that holds a guest table."""
        kind = "store" if self.state.ept_dirty else "load"
        return self._translate(gpa, kind, final=False)

    def final_page(self, gpa: int, kind: str) -> HostPage:
        return self._translate(gpa, kind, final=True)

    def _translate(self, gpa: int, kind: str, final: bool) -> HostPage:
        def usable(page: HostPage) -> bool:
            clean_store = kind == "store" and self.state.ept_dirty and not page.dirty
            return page.rights.permit(kind) and not clean_store

        found = self.parts.nested_tlb.find(self.state.root, gpa, usable)
        if found is not None:
            self.counters.count("nested_tlb_hits")
            return found
        page = self._walk(gpa, kind, final)
        self.parts.nested_tlb.insert(page)
        return page

    def _walk(self, gpa: int, kind: str, final: bool) -> HostPage:
        self._check_width(gpa, kind, final)
        table, level, rights = self._start(gpa)
        while True:
            address = table + 8 * table_index(gpa, level)
            entry = self.memory.read(address)
            self.counters.count("walk_refs", "walk_refs_host")
            rights = self._checked(entry, level, rights, gpa, kind, final)
            if is_leaf(entry, level):
                return self._leaf(address, entry, level, rights, gpa, kind, final)
            self._set_bits(address, entry, dirty=False)
            table = entry & ADDRESS_FIELD
            self.parts.host_psc.insert(self.state.root, gpa, level, table, rights)
            level -= 1

    def _check_width(self, gpa: int, kind: str, final: bool) -> None:
        """Four levels translate 48 bits; a wider address is a violation (NPT: not present) with nothing
        read.
        """
        if self.levels == 5 or gpa >> 48 == 0:
            return
        if self.state.second_stage == "ept":
            raise self.violation(gpa, kind, NOTHING, final)
        raise self._npf(gpa, kind, 0, final)

    def _start(self, gpa: int) -> tuple[int, int, HostRights]:
        """Host paging-structure caches, lowest level first; else the root."""
        found = self.parts.host_psc.find(self.state.root, gpa, self.levels)
        if found is not None:
            self.counters.count("psc_hits")
            return found.table, found.level - 1, found.rights
        return self.state.root & ADDRESS_FIELD, self.levels, HostRights()

    def _checked(
        self, entry: int, level: int, rights: HostRights, gpa: int, kind: str, final: bool
    ) -> HostRights:
        """The rights accumulated with this entry; raises if it is not present or malformed."""
        if self.state.second_stage == "ept":
            if not ept_present(entry):
                raise self.violation(gpa, kind, NOTHING, final, level, entry)
            if ept_misconfigured(entry, level, self.config):
                raise Fault("ept_misconfiguration", gpa=gpa, level=level, entry=entry)
            return HostRights(
                rights.read and bool(entry & 1),
                rights.write and bool(entry & 2),
                rights.execute and bool(entry & 4),
            )
        if not entry & 1:
            raise self._npf(gpa, kind, 0, final, level, entry)
        if x86_reserved(entry, level, self.config, nxe=True) or npt_reserved(entry, level):
            raise self._npf(gpa, kind, ERROR_P | ERROR_RSVD, final, level, entry)
        user = bool(entry & 4)
        return HostRights(
            rights.read and user,
            rights.write and user and bool(entry & 2),
            rights.execute and user and not entry >> 63,
        )

    def _leaf(
        self, address: int, entry: int, level: int, rights: HostRights, gpa: int, kind: str, final: bool
    ) -> HostPage:
        if not rights.permit(kind):
            if self.state.second_stage == "ept":
                raise self.violation(gpa, kind, rights, final, level, entry)
            raise self._npf(gpa, kind, ERROR_P, final, level, entry)
        dirty = self._set_bits(address, entry, dirty=kind == "store")
        size = leaf_size(level)
        base = entry & ADDRESS_FIELD & ~((1 << PAGE_BITS[size]) - 1)
        return HostPage(self.state.root, page_number(gpa, PAGE_BITS[size]), size, base, rights, dirty)

    def _set_bits(self, address: int, entry: int, dirty: bool) -> bool:
        """A, and D for a write; EPT only with A/D enabled. Returns whether the entry is dirty now."""
        accessed_bit, dirty_bit = (EPT_A, EPT_D) if self.state.second_stage == "ept" else (A, D)
        if not self.state.ept_dirty:
            return bool(entry & dirty_bit)
        wanted = entry | accessed_bit | (dirty_bit if dirty else 0)
        if wanted != entry and not self.parts.pure:
            self.memory.write(address, wanted)
        return bool(wanted & dirty_bit)

    def violation(
        self, gpa: int, kind: str, rights: HostRights, final: bool, level: int = 0, entry: int = 0
    ) -> Fault:
        """An EPT violation. With A/D enabled an access to a guest table reports read and write."""
        access = ACCESS_BIT[kind]
        if not final and self.state.ept_dirty:
            access = 3
        qualification = access | rights.bits() << 3 | LINEAR_VALID | (FINAL if final else 0)
        return Fault("ept_violation", qualification=qualification, gpa=gpa, level=level, entry=entry)

    def _npf(self, gpa: int, kind: str, error: int, final: bool, level: int = 0, entry: int = 0) -> Fault:
        """A nested page fault: bits 4:0 of the error code, U always; bit 32 or 33 says for what."""
        error |= ERROR_U
        if kind == "store":
            error |= ERROR_W
        if kind == "fetch":
            error |= ERROR_I
        error |= NPF_FINAL if final else NPF_TABLE
        return Fault("nested_page_fault", error_code=error, gpa=gpa, level=level, entry=entry)
