"""Corners of docs/design/mmu.md that random machines reach too seldom, each set up by hand.

Every step is made by the simulator and by the model, as in the differential test; here the outcome is written
out as well.
"""

from __future__ import annotations

import pytest

import vmem
from reference.duel import Duel
from reference.machines import CR0, CR4, EFER, Machine

WP, PGE, PCIDE, NXE = 1 << 16, 1 << 7, 1 << 17, 1 << 11
ROOT, PDPT, PD, PT = 0x1000, 0x2000, 0x3000, 0x4000
EPT, EPT_PDPT, EPT_PD, EPT_PT = 0x10000, 0x11000, 0x12000, 0x13000
PAGE = 0x7000  # the linear address of every test; its leaf is in PT
LEAF = PT + 8 * 7
EPT_ENTRY = 6 << 3 | 7
WIDE = vmem.Tlb(64)
ENTRIES = {ROOT: PDPT | 7, PDPT: PD | 7, PD: PT | 7}
LARGE_EPT = {EPT: EPT_PDPT | 7, EPT_PDPT: EPT_PD | 7, EPT_PD: 1 << 7 | EPT_ENTRY}
SMALL_EPT = {
    **LARGE_EPT,
    EPT_PD: EPT_PT | 7,
    **{EPT_PT + 8 * frame: frame << 12 | EPT_ENTRY for frame in range(512)},
}


def duel(words: dict[int, int], stage: dict[str, int] | None = None, **cpu: object) -> Duel:
    """CPL 0 with everything off but what the words need."""
    processor = vmem.Cpu(l1i=WIDE, l1d=WIDE, l2=None).replace(**cpu)
    stages = [stage or {"eptp": 0}]
    made = Duel(Machine(processor, 0, {**ENTRIES, **words}, [], [ROOT], stages, {ROOT: [PAGE]}))
    made._set(cr0=CR0 | WP, cr4=CR4, efer=EFER | NXE, cpl=0)
    return made


def added(made: Duel, address: int, kind: str = "load") -> dict[str, int]:
    """Accesses; returns the counters that grew, except those of the kind of access."""
    before = dict(made.model.counters)
    made.access(address, kind)
    made.compare_counters()
    made.compare_memory()
    counters = made.model.counters
    ignored = ("accesses", "loads", "stores", "fetches")
    return {
        name: counters[name] - before[name]
        for name in counters
        if counters[name] != before[name] and name not in ignored
    }


def test_an_entry_of_the_own_pcid_comes_before_a_global_one() -> None:
    made = duel({LEAF: 0x20000 | 0x67})
    made._set(cr4=CR4 | PGE | PCIDE, cr3=ROOT | 1)
    added(made, PAGE)
    made._store(LEAF, 0x30000 | 0x67 | 1 << 8)
    made._set(cr3=ROOT | 2)
    assert "walks" in added(made, PAGE)
    made._set(cr3=ROOT | 1)
    assert made.mmu.access(PAGE).pa == made.model.access(PAGE, "load").pa == 0x20000
    made._set(cr3=ROOT | 3)
    assert made.mmu.access(PAGE).pa == made.model.access(PAGE, "load").pa == 0x30000


def test_a_nested_tlb_entry_that_does_not_serve_hides_no_larger_one() -> None:
    read_only = {**SMALL_EPT, EPT_PT + 8 * 0x20: 0x20000 | 6 << 3 | 5}
    words = {LEAF: 0x20000 | 0x67, LEAF + 8: 0x21000 | 0x67, **read_only}
    made = duel(words, {"eptp": EPT | 0x1E}, nested_tlb=vmem.Tlb(64))
    assert added(made, PAGE)["walk_refs_host"] == 20
    made._store(EPT_PD, LARGE_EPT[EPT_PD])
    assert added(made, PAGE + 0x1000) == {
        "tlb_misses": 1,
        "walks": 1,
        "walk_refs": 7,
        "walk_refs_guest": 4,
        "walk_refs_host": 3,
        "nested_tlb_hits": 4,
    }
    # The TLB entry forbids stores; of the two nested entries for 0x20000 the small one does too.
    stored = {"l1d_hits": 1, "walks": 1, "walk_refs": 4, "walk_refs_guest": 4, "nested_tlb_hits": 5}
    assert added(made, PAGE, "store") == stored


@pytest.mark.parametrize("kind", ["load", "store"])
def test_a_table_that_may_not_be_written(kind: str) -> None:
    """EPT without A/D: nothing is wrong until a bit of a guest entry must be set. `probe` sees it coming."""
    bit, flags = ("A", 0x07) if kind == "load" else ("D", 0x27)
    rights = 5  # readable and executable
    words = {**SMALL_EPT, EPT_PT + 8 * (PT >> 12): PT | 6 << 3 | rights, LEAF: 0x20000 | flags}
    words |= {at: word | 0x20 for at, word in ENTRIES.items()}
    made = duel(words, {"eptp": EPT | 0x1E})
    made.probe(PAGE, kind)
    fault = made.mmu.probe(PAGE, kind).fault
    assert fault is not None, bit
    assert (fault.kind, fault.gpa, fault.ept_qualification) == (
        "ept_violation",
        LEAF,
        2 | rights << 3 | 1 << 7,
    )
    added(made, PAGE, kind)
    made._store(LEAF, 0x20000 | flags | 0x20 | (0x40 if kind == "store" else 0))
    assert made.mmu.probe(PAGE, kind).ok
    assert made.mmu.access(PAGE, kind).ok


def test_a_violation_names_the_table_entry_it_is_about() -> None:
    words = {**SMALL_EPT, EPT_PT + 8 * (PT >> 12): 0, LEAF: 0x20000 | 0x67}
    made = duel(words, {"eptp": EPT | 0x1E})
    added(made, PAGE)
    fault = made.mmu.access(PAGE).fault
    assert fault is not None
    assert (fault.kind, hex(fault.gpa), fault.level) == ("ept_violation", hex(LEAF), 1)


@pytest.mark.parametrize("execute_only", [True, False])
@pytest.mark.parametrize("memory_type", range(8))
@pytest.mark.parametrize("rights", range(8))
def test_ept_rights_and_memory_types(rights: int, memory_type: int, execute_only: bool) -> None:
    words = {**SMALL_EPT, EPT_PT + 8 * 0x20: 0x20000 | memory_type << 3 | rights, LEAF: 0x20000 | 0x67}
    made = duel(words, {"eptp": EPT | 0x1E}, execute_only=execute_only)
    malformed = memory_type in (2, 3, 7) or rights in (2, 6) or (rights == 4 and not execute_only)
    for kind, needed in (("load", 1), ("store", 2), ("fetch", 4)):
        added(made, PAGE, kind)
        fault = made.mmu.access(PAGE, kind).fault
        made.model.access(PAGE, kind)
        if rights and malformed:
            assert fault is not None and fault.kind == "ept_misconfiguration"
        elif rights & needed:
            assert fault is None
        else:
            assert fault is not None and fault.kind == "ept_violation"
            assert fault.ept_qualification == needed | rights << 3 | 1 << 7 | 1 << 8


@pytest.mark.parametrize("format", ["ept", "npt"])
def test_four_levels_translate_48_bits(format: str) -> None:
    words = {**SMALL_EPT, LEAF: 1 << 48 | 0x20000 | 0x67}
    made = duel(words, {"eptp": EPT | 0x1E} if format == "ept" else {"ncr3": EPT}, maxphyaddr=52)
    if format == "npt":
        for at, word in SMALL_EPT.items():
            made._store(at, word & ~0x38 | 0x67)
    added(made, PAGE)
    fault = made.mmu.access(PAGE).fault
    assert fault is not None
    assert (fault.gpa, fault.level, fault.entry) == (1 << 48 | 0x20000, 0, 0)
    assert fault.ept_qualification == (0x181 if format == "ept" else 0)
    assert fault.error_code == (0 if format == "ept" else 1 << 32 | 4)


def test_bit_8_of_a_nested_pml4e_is_reserved() -> None:
    nested = {at: word & ~0x38 | 0x67 for at, word in SMALL_EPT.items()}
    made = duel({**nested, LEAF: 0x20000 | 0x67}, {"ncr3": EPT})
    assert "walks" in added(made, PAGE)
    made._store(EPT, nested[EPT] | 1 << 8)
    made.mmu.flush()
    made.model.flush()
    added(made, PAGE)
    fault = made.mmu.access(PAGE).fault
    assert fault is not None
    assert (fault.kind, fault.error_code) == ("nested_page_fault", 1 << 33 | 0b1111)


def test_without_nxe_a_cached_entry_forbids_no_fetch() -> None:
    made = duel({LEAF: 1 << 63 | 0x20000 | 0x67})
    added(made, PAGE)
    made._set(efer=EFER)
    made.access(PAGE, "fetch")  # its own L1 misses, and bit 63 is reserved now
    made._set(efer=EFER | NXE)
    shared = duel({LEAF: 1 << 63 | 0x20000 | 0x67}, l2=WIDE)
    added(shared, PAGE)
    shared._set(efer=EFER)
    assert added(shared, PAGE, "fetch") == {"l2_hits": 1}


def test_a_page_fault_drops_every_part_of_the_page() -> None:
    small_only = vmem.Tlb(64, pages=("4KiB",))
    made = duel({PD: 1 << 7 | 0x67}, l1i=small_only, l1d=small_only)
    for address in (0x1000, 0x2000):
        assert "walks" in added(made, address)
    made._store(PD, 1 << 7 | 0x65)
    made.access(0x30000, "store")
    assert [added(made, address).get("walks") for address in (0x1000, 0x2000)] == [1, 1]


def test_a_violation_drops_only_what_translates_the_address() -> None:
    made = duel({PD: 1 << 7 | 0x67, **SMALL_EPT, EPT_PT + 8 * 0x30: 0}, {"eptp": EPT | 0x1E})
    for address in (0x1000, 0x2000):
        assert "walks" in added(made, address)
    made.access(0x30000, "store")
    assert [added(made, address) for address in (0x1000, 0x2000)] == [{"l1d_hits": 1}] * 2


def test_invpcid_of_pcids_that_nobody_used() -> None:
    """There are 65,536 numbers for contexts, and only entries need one."""
    memory = vmem.PhysicalMemory("1MiB")
    for at, word in {**ENTRIES, LEAF: 0x20000 | 0x67}.items():
        memory.write(at, word.to_bytes(8, "little"))
    mmu = vmem.Mmu(memory, vmem.Cpu(l1i=WIDE, l1d=WIDE, l2=None))
    mmu.set_state(cr0=CR0, cr4=CR4 | PCIDE, efer=EFER, cr3=ROOT, cpl=0)
    assert mmu.access(PAGE).ok
    for vpid in range(1, 17):
        mmu.set_state(vpid=vpid)
        for pcid in range(4096 if vpid < 16 else 4000):
            mmu.mov_cr3(1 << 63 | ROOT | pcid)
    for pcid in range(4096):
        mmu.invpcid(0, pcid, PAGE)
    mmu.set_state(cr3=ROOT, vpid=0)
    assert mmu.access(PAGE).ok
    assert mmu.counters()["l1d_hits"] == 1
