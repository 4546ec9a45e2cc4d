"""The walk of the guest's table, alone or over a second stage (mmu.md, both sections on walks)."""

from __future__ import annotations

from typing import NamedTuple

from reference.address import ADDRESS_FIELD, PAGE_BITS, page_number, table_index
from reference.entries import GLOBAL, A, D, is_leaf, leaf_size, x86_reserved
from reference.faults import Fault
from reference.host import Host
from reference.parts import Parts
from reference.permissions import (
    ERROR_P,
    ERROR_PK,
    ERROR_RSVD,
    HostRights,
    Rights,
    base_error,
    key_allows,
    rights_allow,
)
from reference.state import CR4_PGE, EFER_NXE
from reference.structure_caches import GuestTable
from reference.tlb import TlbEntry


class _Leaf(NamedTuple):
    entry: int
    size: int
    rights: Rights


class Walker:
    """One walk at a time."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.host = Host(parts)
        self.config, self.memory, self.state, self.counters = (
            parts.config,
            parts.memory,
            parts.state,
            parts.counters,
        )

    def walk(self, address: int, kind: str) -> TlbEntry:
        """The translation for a TLB; raises Fault."""
        leaf = self._guest(address, kind)
        return self._entry(leaf, address, kind)

    def _guest(self, address: int, kind: str) -> _Leaf:
        table, level, rights = self._start(address)
        while True:
            offset = 8 * table_index(address, level)
            entry = self.memory.read(table.base + offset)
            self.counters.count("walk_refs", "walk_refs_guest")
            self._check_entry(entry, level, kind)
            rights = rights.under(entry)
            if is_leaf(entry, level):
                self._check_rights(rights, entry, level, kind)
                entry = self._set_bits(table, offset, entry, A | (D if kind == "store" else 0))
                return _Leaf(entry, leaf_size(level), rights)
            self._set_bits(table, offset, entry, A)
            table = self._table_at(entry & ADDRESS_FIELD, address, level - 1)
            self.parts.psc.insert(self.state.context, address, level, table, rights)
            level -= 1

    def _start(self, address: int) -> tuple[GuestTable, int, Rights]:
        """The lowest paging-structure cache that hits; otherwise CR3."""
        found = self.parts.psc.find(self.state.context, address, self.state.levels)
        if found is not None:
            self.counters.count("psc_hits")
            return found.table, found.level - 1, found.rights
        return self._table_at(self.state.table, address, self.state.levels), self.state.levels, Rights()

    def _table_at(self, gpa: int, address: int, level: int) -> GuestTable:
        """What is translated is the address of the entry that will be read."""
        if self.state.second_stage == "none":
            return GuestTable(gpa)
        page = self.host.table_page(gpa + 8 * table_index(address, level))
        return GuestTable(page.physical(gpa), gpa, page.rights)

    def _check_entry(self, entry: int, level: int, kind: str) -> None:
        """Rules 1 and 2 of each entry."""
        error = base_error(kind, self.state)
        if not entry & 1:
            raise Fault("page_fault", error_code=error, level=level, entry=entry)
        if x86_reserved(entry, level, self.config, bool(self.state.efer & EFER_NXE)):
            raise Fault("page_fault", error_code=error | ERROR_P | ERROR_RSVD, level=level, entry=entry)

    def _check_rights(self, rights: Rights, entry: int, level: int, kind: str) -> None:
        """Rule 5; the key's check is reported even if another fails as well."""
        key_ok = key_allows(rights, protection_key(entry), kind, self.state)
        if key_ok and rights_allow(rights, kind, self.state):
            return
        error = base_error(kind, self.state) | ERROR_P | (0 if key_ok else ERROR_PK)
        raise Fault("page_fault", error_code=error, level=level, entry=entry)

    def _set_bits(self, table: GuestTable, offset: int, entry: int, wanted: int) -> int:
        """Without EPT A/D the store needs W of the table's page. Returns the entry as it is now."""
        if entry | wanted == entry:
            return entry
        needs_write = self.state.second_stage == "ept" and not self.state.ept_dirty
        if needs_write and not table.host.write:
            raise self.host.violation(table.gpa + offset, "store", table.host, final=False)
        if not self.parts.pure:
            self.memory.write(table.base + offset, entry | wanted)
        return entry | wanted

    def _entry(self, leaf: _Leaf, address: int, kind: str) -> TlbEntry:
        """The smaller of both page sizes; rights of both dimensions separately; dirty only if both are."""
        inside = address & (1 << PAGE_BITS[leaf.size]) - 1
        gpa = leaf.entry & ADDRESS_FIELD & ~((1 << PAGE_BITS[leaf.size]) - 1) | inside
        size, physical, host, host_dirty = leaf.size, gpa, HostRights(), True
        if self.state.second_stage != "none":
            page = self.host.final_page(gpa, kind)
            size, physical, host = min(leaf.size, page.size), page.physical(gpa), page.rights
            host_dirty = page.dirty or not self.state.ept_dirty
        return TlbEntry(
            context=self.state.context,
            page=page_number(address, PAGE_BITS[size]),
            size=size,
            base=physical & ~((1 << PAGE_BITS[size]) - 1),
            is_global=bool(leaf.entry & GLOBAL and self.state.cr4 & CR4_PGE),
            rights=leaf.rights,
            key=protection_key(leaf.entry),
            host=host,
            dirty=bool(leaf.entry & D) and host_dirty,
            guest_size=leaf.size,
        )


def protection_key(leaf: int) -> int:
    return leaf >> 59 & 15
