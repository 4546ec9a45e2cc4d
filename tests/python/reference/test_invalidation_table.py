"""Every row of the invalidation table of docs/design/mmu.md: what goes and what stays, seen through counters.

Entries of several VPIDs, PCIDs, second stages and pages are filled, nothing in memory is edited, and
VPID 1, PCID 1 makes one operation; then every entry is asked for once. A hit is an entry that stayed. What
should go is written out here by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

import vmem

CR0, EFER = 1 << 31 | 1, 1 << 8 | 1 << 10 | 1 << 11
PAE, PGE, PCIDE, SMEP, SMAP = 1 << 5, 1 << 7, 1 << 17, 1 << 20, 1 << 21
CR4 = PAE | PGE | PCIDE
ROOT, EPT_A, EPT_B = 0x1000, 0x8000, 0xC000
EPT_FLAGS = 6 | 3 << 3
VPIDS, PCIDS, STAGES = (0, 1, 2), (0, 1, 2), (0, EPT_A, EPT_B)
PAGE, OTHER, GLOBAL, OTHER_GLOBAL, FAR = 0x400000, 0x401000, 0x402000, 0x403000, 0x600000
FRESH = {PAGE: 0x410000, FAR: 0x610000}  # never touched before, in the same 2 MiB
UNUSED_VPID = 9


class Entry(NamedTuple):
    """A TLB entry; the PCID of a global one is the one that filled it."""

    vpid: int
    pcid: int
    stage: int
    page: int

    @property
    def is_global(self) -> bool:
        return self.page in (GLOBAL, OTHER_GLOBAL)


class Structure(NamedTuple):
    """A PDE-cache entry: of the 2 MiB that a page is in."""

    vpid: int
    pcid: int
    stage: int
    page: int


ENTRIES = [
    Entry(vpid, pcid, stage, page)
    for vpid in VPIDS
    for pcid in PCIDS
    for stage in STAGES
    for page in (PAGE, OTHER, FAR, GLOBAL, OTHER_GLOBAL)
    if page not in (GLOBAL, OTHER_GLOBAL) or pcid == 2
]
STRUCTURES = [Structure(v, p, s, page) for v in VPIDS for p in PCIDS for s in STAGES for page in (PAGE, FAR)]

PSC = vmem.Psc(pde=vmem.Tlb(256))
LARGE = vmem.Tlb(1024, pages=("4KiB",))
NESTED = vmem.Cpu(l1i=LARGE, l1d=LARGE, l2=None, psc=PSC, nested_tlb=vmem.Tlb(64))
HOST_PSC = vmem.Cpu(l1i=LARGE, l1d=LARGE, l2=LARGE, psc=PSC, host_psc=PSC)


class Bench:
    """An MMU over tables that serve one and two dimensions: the second stages map everything to itself."""

    def __init__(self, cpu: vmem.Cpu) -> None:
        self.memory = vmem.PhysicalMemory("4MiB")
        self.put(ROOT, 0x2000 | 7)
        self.put(0x2000, 0x3000 | 7)
        self.put(0x3000 + 8 * (PAGE >> 21), 0x4000 | 7)
        self.put(0x3000 + 8 * (FAR >> 21), 0x5000 | 7)
        self.put(0x3000 + 8 * 4, 0x200000 | 1 << 7 | 0x67)
        for table in (0x4000, 0x5000):
            for index in range(32):
                is_global = table == 0x4000 and PAGE + (index << 12) in (GLOBAL, OTHER_GLOBAL)
                self.put(table + 8 * index, index << 12 | 0x67 | is_global << 8)
        for root in (EPT_A, EPT_B):
            for level in range(3):
                self.put(root + (level << 12), root + (level + 1 << 12) | 7)
            for frame in range(512):
                self.put(root + 0x3000 + 8 * frame, frame << 12 | 6 << 3 | 7)
            self.put(root + 0x2000 + 8, 0x200000 | 1 << 7 | 6 << 3 | 7)
        self.mmu = vmem.Mmu(self.memory, cpu)
        self.mmu.set_state(cr0=CR0, efer=EFER, cr4=CR4, cpl=0)

    def put(self, at: int, word: int) -> None:
        self.memory.write(at, word.to_bytes(8, "little"))

    def enter(self, vpid: int, pcid: int, stage: int) -> None:
        """No invalidation comes with it."""
        self.mmu.set_state(
            cr4=CR4 | SMAP, cr3=ROOT | pcid, vpid=vpid, eptp=stage | EPT_FLAGS if stage else 0, ac=True
        )

    def touch(self, vpid: int, pcid: int, stage: int, address: int) -> dict[str, int]:
        """Loads; returns what that added to the counters."""
        self.enter(vpid, pcid, stage)
        before = self.mmu.counters()
        assert self.mmu.access(address).ok
        return {name: value - before[name] for name, value in self.mmu.counters().items()}

    def fill(self) -> None:
        for entry in ENTRIES:
            assert self.touch(*entry)["tlb_misses"] == 1
        for entry in ENTRIES:
            assert self.touch(*entry)["l1d_hits"] == 1

    def dropped_entries(self) -> set[Entry]:
        return {entry for entry in ENTRIES if self.touch(*entry)["tlb_misses"]}

    def dropped_structures(self) -> set[Structure]:
        """By a miss on a page that nobody touched: the walk starts at its last table, or at the root."""
        dropped = set()
        for structure in STRUCTURES:
            seen = self.touch(*structure[:3], FRESH[structure.page])
            assert seen["tlb_misses"] == 1 and seen["walk_refs_guest"] in (1, 4)
            if seen["walk_refs_guest"] == 4:
                dropped.add(structure)
        return dropped

    def dropped_stages(self, kept_references: int) -> set[int]:
        """By a walk of a VPID of its own, for which only guest-physical addresses can be cached."""
        dropped = set()
        for stage in (EPT_A, EPT_B):
            seen = self.touch(UNUSED_VPID, 0, stage, PAGE)
            assert seen["walk_refs_guest"] == 4
            if seen["walk_refs_host"] != kept_references:
                dropped.add(stage)
        return dropped


def nothing(_: object) -> bool:
    return False


@dataclass
class Case:
    """An operation of a row and what it drops. `flushes` is what it adds to `tlb_flushes`."""

    row: str
    name: str
    operate: Callable[[vmem.Mmu], object]
    entries: Callable[[Entry], bool] = nothing
    structures: Callable[[Structure], bool] = nothing
    stages: Callable[[int], bool] = nothing
    flushes: int = 0
    result: object = None


def _pcid_not_global(pcid: int) -> Callable[[Entry], bool]:
    return lambda e: e.vpid == 1 and e.pcid == pcid and not e.is_global


def _pcid(pcid: int) -> Callable[[Structure], bool]:
    return lambda s: s.vpid == 1 and s.pcid == pcid


def _vpid(vpid: int) -> Callable[[Entry | Structure], bool]:
    return lambda e: e.vpid == vpid


def _without_pcide(mmu: vmem.Mmu) -> None:
    mmu.set_state(cr4=PAE | PGE)
    mmu.mov_cr3(ROOT | 1)


CR3_ROW = "MOV CR3, bit 63 clear or PCIDE=0"
CR4_ROW = "MOV CR4 changing PGE, or clearing PCIDE"
INVVPID_ROW = "INVVPID 1 (vpid) / 2 / 3 (vpid)"
INVEPT_ROW = "INVEPT 1 (eptp) / 2"
CASES = [
    Case(
        "INVLPG va",
        "a page of this PCID",
        lambda m: m.invlpg(PAGE + 0x123),
        lambda e: e.vpid == 1 and e.pcid == 1 and e.page == PAGE,
        _pcid(1),
    ),
    Case(
        "INVLPG va",
        "a global page",
        lambda m: m.invlpg(GLOBAL),
        lambda e: e.vpid == 1 and e.page == GLOBAL,
        _pcid(1),
    ),
    Case("INVLPG va", "no address", lambda m: m.invlpg(1 << 47 | PAGE)),
    Case(
        "INVPCID 0 (pcid, va)",
        "a page",
        lambda m: m.invpcid(0, 2, PAGE),
        lambda e: e.vpid == 1 and e.pcid == 2 and e.page == PAGE,
        _pcid(2),
    ),
    Case("INVPCID 0 (pcid, va)", "a global page", lambda m: m.invpcid(0, 2, GLOBAL), nothing, _pcid(2)),
    Case("INVPCID 0 (pcid, va)", "no address", lambda m: m.invpcid(0, 2, 1 << 47 | PAGE)),
    Case("INVPCID 1 (pcid)", "", lambda m: m.invpcid(1, 2), _pcid_not_global(2), _pcid(2), flushes=1),
    Case("INVPCID 2", "", lambda m: m.invpcid(2), _vpid(1), _vpid(1), flushes=1),
    Case(
        "INVPCID 3",
        "",
        lambda m: m.invpcid(3),
        lambda e: e.vpid == 1 and not e.is_global,
        _vpid(1),
        flushes=1,
    ),
    Case(CR3_ROW, "", lambda m: m.mov_cr3(ROOT | 2), _pcid_not_global(2), _pcid(2), flushes=1),
    Case(CR3_ROW, "PCIDE=0", _without_pcide, _pcid_not_global(0), _pcid(0), flushes=1),
    Case(
        CR3_ROW,
        "PCIDE=0, bit 63 set",
        lambda m: (m.set_state(cr4=PAE | PGE), m.mov_cr3(1 << 63 | ROOT))[1],
        _pcid_not_global(0),
        _pcid(0),
        flushes=1,
    ),
    Case("MOV CR3, bit 63 set, PCIDE=1", "", lambda m: m.mov_cr3(1 << 63 | ROOT | 2)),
    Case(CR4_ROW, "PGE", lambda m: m.mov_cr4(PAE | PCIDE), _vpid(1), _vpid(1), flushes=1),
    Case(CR4_ROW, "PCIDE", lambda m: m.mov_cr4(PAE | PGE), _vpid(1), _vpid(1), flushes=1),
    Case(
        "MOV CR4 setting SMEP",
        "",
        lambda m: m.mov_cr4(CR4 | SMEP),
        lambda e: e.vpid == 1 and (e.pcid == 1 or e.is_global),
        _pcid(1),
        flushes=1,
    ),
    Case("MOV CR4 setting SMEP", "or another bit", lambda m: m.mov_cr4(CR4 | SMAP)),
    Case(
        "INVVPID 0 (vpid, va)",
        "a page",
        lambda m: m.invvpid(0, 2, PAGE),
        lambda e: e.vpid == 2 and e.page == PAGE,
        _vpid(2),
        result=True,
    ),
    Case(
        "INVVPID 0 (vpid, va)",
        "a global page",
        lambda m: m.invvpid(0, 2, GLOBAL),
        lambda e: e.vpid == 2 and e.page == GLOBAL,
        _vpid(2),
        result=True,
    ),
    Case("INVVPID 0 (vpid, va)", "no address", lambda m: m.invvpid(0, 2, 1 << 47 | PAGE), result=False),
    Case("INVVPID 0 (vpid, va)", "VPID 0", lambda m: m.invvpid(0, 0, PAGE), result=False),
    Case(INVVPID_ROW, "1", lambda m: m.invvpid(1, 2), _vpid(2), _vpid(2), flushes=1, result=True),
    Case(INVVPID_ROW, "1, VPID 0", lambda m: m.invvpid(1, 0), result=False),
    Case(
        INVVPID_ROW,
        "2",
        lambda m: m.invvpid(2),
        lambda e: e.vpid != 0,
        lambda s: s.vpid != 0,
        flushes=1,
        result=True,
    ),
    Case(
        INVVPID_ROW,
        "3",
        lambda m: m.invvpid(3, 2),
        lambda e: e.vpid == 2 and not e.is_global,
        _vpid(2),
        flushes=1,
        result=True,
    ),
    Case(INVVPID_ROW, "3, VPID 0", lambda m: m.invvpid(3, 0), result=False),
    Case(
        INVEPT_ROW,
        "1",
        lambda m: m.invept(1, EPT_B | EPT_FLAGS | 1 << 6),
        lambda e: e.stage == EPT_B,
        lambda s: s.stage == EPT_B,
        lambda root: root == EPT_B,
        flushes=1,
    ),
    Case(INVEPT_ROW, "1, no root", lambda m: m.invept(1, 0), flushes=1),
    Case(
        INVEPT_ROW,
        "2",
        lambda m: m.invept(2),
        lambda e: e.stage != 0,
        lambda s: s.stage != 0,
        lambda root: True,
        flushes=1,
    ),
    Case("flush", "", lambda m: m.flush(), lambda e: True, lambda s: True, lambda root: True, flushes=1),
]


def test_every_row_is_here() -> None:
    page = (Path(__file__).parents[3] / "docs" / "design" / "mmu.md").read_text(encoding="utf-8")
    table = page.split("| operation |")[1].split("\n\n")[0].splitlines()[2:]
    assert {line.split("|")[1].strip() for line in table} == {case.row for case in CASES}


@pytest.mark.parametrize("stage", [0, EPT_A], ids=["linear", "combined"])
@pytest.mark.parametrize("cpu", [NESTED, HOST_PSC], ids=["nested TLB", "host PSC"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.row}: {case.name}".rstrip(": "))
def test_row(case: Case, cpu: vmem.Cpu, stage: int) -> None:
    bench = Bench(cpu)
    bench.fill()
    bench.enter(1, 1, stage)
    bench.mmu.set_state(cr4=CR4)
    before = bench.mmu.counters()
    assert case.operate(bench.mmu) == case.result
    assert bench.mmu.counters() == {**before, "tlb_flushes": before["tlb_flushes"] + case.flushes}

    # In this order: what is looked at refills only what has been looked at already, or is not looked at.
    assert bench.dropped_stages(0 if cpu is NESTED else 5) == {
        root for root in (EPT_A, EPT_B) if case.stages(root)
    }
    assert bench.dropped_structures() == {s for s in STRUCTURES if case.structures(s)}
    assert bench.dropped_entries() == {e for e in ENTRIES if case.entries(e)}


LARGE_PAGE = 0x800000
PARTS = (LARGE_PAGE, LARGE_PAGE + 0x1000, LARGE_PAGE + 0x1FF000)
PAGE_OPERATIONS = {
    "INVLPG va": lambda m: m.invlpg(PARTS[1]),
    "INVPCID 0 (pcid, va)": lambda m: m.invpcid(0, 1, PARTS[1]),
    "INVVPID 0 (vpid, va)": lambda m: m.invvpid(0, 1, PARTS[1]),
}


@pytest.mark.parametrize("stage", [0, EPT_A], ids=["linear", "combined"])
@pytest.mark.parametrize("row", PAGE_OPERATIONS)
def test_a_page_held_in_parts_goes_as_a_whole(row: str, stage: int) -> None:
    """There is no way for software to know that its large page is many entries (SDM vol. 3, 4.10.4.1)."""
    bench = Bench(NESTED)
    for address in (*PARTS, PAGE):
        assert bench.touch(1, 1, stage, address)["tlb_misses"] == 1
    PAGE_OPERATIONS[row](bench.mmu)
    assert bench.touch(1, 1, stage, PAGE)["l1d_hits"] == 1
    assert [bench.touch(1, 1, stage, address)["tlb_misses"] for address in PARTS] == [1, 1, 1]
