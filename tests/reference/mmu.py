"""The MMU: TLBs, walk, rights after a hit, faults (mmu.md, "One access" and "Probe")."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from reference import invalidate
from reference.address import canonical, page_bytes
from reference.config import Config
from reference.counters import Counters
from reference.faults import Fault
from reference.memory import Memory
from reference.parts import Parts
from reference.permissions import key_allows, rights_allow
from reference.state import Context, State
from reference.structure_caches import NestedTlb, StructureCaches
from reference.tlb import TlbEntry, TlbLevel
from reference.walk import Walker


class Result(NamedTuple):
    """`fault` is None if the access was done; then `pa` and `page_size` (bytes) say where."""

    fault: Fault | None
    pa: int = 0
    page_size: int = 0


class Mmu(invalidate.Invalidations):
    """The processor's MMU over a Memory. `state` may be changed at any time and implies no invalidation."""

    def __init__(self, config: Config, memory: Memory) -> None:
        self.config, self.memory = config, memory
        self.state = State()
        self.counters = Counters()
        self.l1i, self.l1d, self.l2 = TlbLevel(config.l1i), TlbLevel(config.l1d), TlbLevel(config.l2)
        self.psc: StructureCaches[Context] = StructureCaches(config.psc)
        self.host_psc: StructureCaches[int] = StructureCaches(config.host_psc)
        self.nested_tlb = NestedTlb(config.nested_tlb)

    def set_state(self, **registers: object) -> None:
        self.state = dataclasses.replace(self.state, **registers)  # type: ignore[arg-type]

    def probe(self, address: int, kind: str) -> Result:
        """A walk with no caches, counting and changing nothing."""
        if not canonical(address, self.state.levels):
            return Result(Fault("general_protection"))
        try:
            return done(Walker(self._parts().without_caches()).walk(address, kind), address)
        except Fault as fault:
            return Result(fault)

    def access(self, address: int, kind: str) -> Result:
        if not canonical(address, self.state.levels):
            return Result(Fault("general_protection"))
        self.counters.count("accesses", {"load": "loads", "store": "stores", "fetch": "fetches"}[kind])
        hit = self._lookup(address, kind)
        try:
            entry = self._after_miss(address, kind) if hit is None else self._after_hit(hit, address, kind)
        except Fault as fault:
            invalidate.after_fault(self, fault, address)
            return Result(fault)
        return done(entry, address)

    def _l1(self, kind: str) -> TlbLevel:
        return self.l1i if kind == "fetch" else self.l1d

    def _lookup(self, address: int, kind: str) -> TlbEntry | None:
        """L1, then L2, whose hit is copied to the L1 of this access."""
        l1 = self._l1(kind)
        entry = l1.lookup(self.state.context, address)
        if entry is not None:
            self.counters.count("l1i_hits" if kind == "fetch" else "l1d_hits")
            return entry
        entry = self.l2.lookup(self.state.context, address)
        if entry is not None:
            self.counters.count("l2_hits")
            l1.fill(entry, address)
        return entry

    def _parts(self) -> Parts:
        return Parts(
            self.config, self.memory, self.state, self.counters, self.psc, self.host_psc, self.nested_tlb
        )

    def _walk(self, address: int, kind: str) -> TlbEntry:
        return Walker(self._parts()).walk(address, kind)

    def _walk_and_fill(self, address: int, kind: str) -> TlbEntry:
        self.counters.count("walks")
        entry = self._walk(address, kind)
        self._l1(kind).fill(entry, address)
        self.l2.fill(entry, address)
        return entry

    def _after_miss(self, address: int, kind: str) -> TlbEntry:
        self.counters.count("tlb_misses")
        return self._walk_and_fill(address, kind)

    def _after_hit(self, hit: TlbEntry, address: int, kind: str) -> TlbEntry:
        """Rights as the entry holds them; a store to a clean entry needs the dirty bit set first."""
        allowed = (
            rights_allow(hit.rights, kind, self.state)
            and key_allows(hit.rights, hit.key, kind, self.state)
            and hit.host.permit(kind)
        )
        if not allowed:
            invalidate.drop_visible_guest_page(self, address)
            return self._walk_and_fill(address, kind)
        if kind == "store" and not hit.dirty:
            self.counters.count("dirty_assists")
            walked = self._walk(address, kind)
            self._mark_dirty(address)
            return walked
        return hit

    def _mark_dirty(self, address: int) -> None:
        """In the L1D and L2 entries of the page and context."""
        for level in (self.l1d, self.l2):
            for entry in level.entries():
                if entry.visible_to(self.state.context) and entry.covers(address):
                    entry.dirty = True


def done(entry: TlbEntry, address: int) -> Result:
    return Result(None, entry.physical(address), page_bytes(entry.size))
