"""The software-managed TLB: the exits of each event; its second level never holds what has gone."""

from __future__ import annotations

from typing import Any

import pytest

import vmem

PAGE = 4096
BOTH = (0, 1024)


class Bench:
    """A VM whose process has stored to both ends of an area: every table is there."""

    def __init__(self, entries: int = 0, vcpus: int = 1, **options: Any) -> None:
        self.host = vmem.Hypervisor("256MiB")
        self.vm = self.host.create_vm(
            "guest", memory="64MiB", mmu="software-tlb", software_tlb=entries, vcpus=vcpus, **options
        )
        self.process = self.vm.guest.spawn()
        self.intact = True
        """The guest's tables are as its kernel made them."""
        self.area = self.process.mmap("1MiB")
        self.access(0, 1)
        self.access(255, 1)

    def page(self, number: int) -> int:
        return self.area.start + number * PAGE

    def counters(self, page: int, kind: int = 0) -> dict[str, int]:
        summary = self.process.access(*vmem.batch([self.page(page)], kind))
        if self.intact:
            self.host.check()
        return summary.counters

    def access(self, page: int, kind: int = 0) -> dict[str, int]:
        """What one access makes besides the counts of accesses themselves."""
        names = ("exits.", "faults.", "walk_refs_", "walks", "software_tlb_hits", "dirty_assists")
        return {k: v for k, v in self.counters(page, kind).items() if v and k.startswith(names)}

    def forget(self) -> None:
        """Empties the processor's TLBs, and nothing that is the hypervisor's."""
        self.vm.vcpus[0].flush_tlb()


WALKED = {"exits.tlb_refill": 1, "exits.tlb_write": 1, "walks": 1, "walk_refs_guest": 4}
UNSEEN = {"exits.tlb_refill": 1, "software_tlb_hits": 1}


@pytest.mark.parametrize("entries", BOTH)
def test_a_hit_makes_no_exit(entries: int) -> None:
    bench = Bench(entries)
    assert bench.access(0) == bench.access(0, 1) == {}


def test_a_miss_is_refilled_by_the_guest_and_its_write_traps() -> None:
    bench = Bench()
    bench.forget()
    assert bench.access(0) == WALKED
    assert bench.access(0) == {}


def test_a_miss_that_the_second_level_has_never_reaches_the_guest() -> None:
    bench = Bench(1024)
    bench.forget()
    assert bench.access(0) == UNSEEN
    assert bench.access(0) == {}


@pytest.mark.parametrize("entries", BOTH)
def test_not_present_in_the_guests_table_is_the_guests_without_a_further_exit(entries: int) -> None:
    """One refill finds nothing; the kernel maps a frame, which it touches first; the next one finds it."""
    bench = Bench(entries)
    made = bench.access(1)
    assert made == {
        "exits.tlb_refill": 3,
        "exits.tlb_write": 1,
        "faults.guest_page_fault": 1,
        "faults.backed_on_demand": 1,
        "walks": 2,
        "walk_refs_guest": 8,
    }
    bench.process.munmap(bench.page(1), PAGE)
    bench.process.mmap(PAGE, at=bench.page(1))
    # The kernel's frame is backed already.
    assert bench.access(1) == {k: v for k, v in made.items() if k != "faults.backed_on_demand"} | {
        "exits.tlb_refill": 2
    }


@pytest.mark.parametrize("entries", BOTH)
def test_the_first_store_through_a_clean_entry_goes_to_the_guest(entries: int) -> None:
    """Its handler sets D, and the entry is written anew. No microcode assists."""
    bench = Bench(entries)
    bench.access(1)
    assert bench.access(1, 1) == WALKED
    assert bench.access(1, 1) == {}
    bench.forget()
    assert bench.access(1, 1) == (UNSEEN if entries else WALKED)


@pytest.mark.parametrize("entries", BOTH)
def test_forbidden_by_the_guests_table_is_the_guests(entries: int) -> None:
    bench = Bench(entries)
    bench.process.mprotect(bench.area, "r")
    bench.access(0)
    refused = bench.process.access(*vmem.batch([bench.page(0)], 1))
    assert refused.segfaults == 1
    assert refused.faults["guest_page_fault"] == 1
    assert {k: v for k, v in refused.exits.items() if v} == {"tlb_refill": 1}


def plant(bench: Bench, gpa: int) -> None:
    """Stores an entry for page 1 to the guest's table, as a kernel would that maps what it never touched."""
    bench.intact = False
    bench.process.write(bench.page(0), b"where page 0 lies")
    memory = bench.vm.read_physical(0, 64 << 20)
    frame = memory.index(b"where page 0 lies")
    entry = frame | 0x67 | 1 << 63
    slot = memory.index(entry.to_bytes(8, "little"))
    bench.vm.write_physical(slot + 8, (gpa | 0x67 | 1 << 63).to_bytes(8, "little"))


@pytest.mark.parametrize("entries", BOTH)
def test_a_frame_without_machine_memory_is_backed_when_the_guest_writes_the_entry(entries: int) -> None:
    bench = Bench(entries)
    plant(bench, 48 << 20)
    resident = bench.vm.resident
    assert bench.access(1) == WALKED | {"faults.backed_on_demand": 1}
    assert bench.vm.resident == resident + PAGE


@pytest.mark.parametrize("entries", BOTH)
def test_an_address_where_there_is_no_memory_is_emulated(entries: int) -> None:
    """No entry can be written: the access comes back, and goes nowhere."""
    bench = Bench(entries)
    plant(bench, 1 << 40)
    for _ in range(2):
        assert bench.access(1) == WALKED | {"exits.tlb_refill": 2}
    assert bench.process.read(bench.page(1), 4) == b"\xff" * 4
    bench.process.write(bench.page(1), b"lost")
    assert bench.process.read(bench.page(1), 4) == b"\xff" * 4


@pytest.mark.parametrize("how", ["INVLPG", "MOV CR3"])
def test_the_second_level_forgets_what_the_guest_invalidates(how: str) -> None:
    bench = Bench(1024)
    pages = 1 if how == "INVLPG" else 64  # beyond 33 pages the guest loads CR3 instead
    for page in range(pages):
        bench.access(page, 1)
    before = bench.vm.counters()
    bench.process.mprotect(bench.page(0), "r", pages * PAGE)
    after = bench.vm.counters()
    exits = {k: after[k] - before[k] for k in after if k.startswith("exits.") and after[k] != before[k]}
    assert exits == ({"exits.invlpg": 1} if how == "INVLPG" else {"exits.cr3_write": 1})
    bench.forget()
    assert bench.access(0) == WALKED
    bench.forget()
    assert bench.access(255) == (UNSEEN if how == "INVLPG" else WALKED)


def test_the_second_level_forgets_a_frame_that_goes() -> None:
    """Migration is the host's; the guest's next refill finds the new frame."""
    bench = Bench(1024)
    bench.process.write(bench.page(0), b"precious")
    old = int(bench.process.translate(vmem.batch([bench.page(0)])[0])[0])
    assert sum(bench.vm.migrate(gpa) for gpa in range(0, 64 << 20, PAGE)) * PAGE == bench.vm.resident
    bench.host.check()
    assert bench.access(0) == WALKED
    assert int(bench.process.translate(vmem.batch([bench.page(0)])[0])[0]) != old
    assert bench.process.read(bench.page(0), 8) == b"precious"


def test_processes_share_the_second_level_but_not_their_translations() -> None:
    bench = Bench(1024)
    other = bench.vm.guest.spawn()
    area = other.mmap(PAGE, at=bench.page(0))
    other.write(area.start, b"theirs")
    bench.process.write(bench.page(0), b"mine")
    for _ in range(3):
        bench.forget()
        assert other.read(area.start, 6) == b"theirs"
        bench.forget()
        assert bench.process.read(bench.page(0), 4) == b"mine"


def test_every_switch_of_address_space_and_every_invlpg_exits() -> None:
    bench = Bench()
    other = bench.vm.guest.spawn()
    area = other.mmap(PAGE)
    before = bench.vm.counters()["exits.cr3_write"]
    for _ in range(5):
        other.access(*vmem.batch([area.start]))
        bench.access(0)
    assert bench.vm.counters()["exits.cr3_write"] == before + 10


@pytest.mark.parametrize("levels", [4, 5])
def test_a_walk_in_software_reads_every_level(levels: int) -> None:
    bench = Bench(cpu=vmem.Cpu.preset("skylake-sp").replace(guest_levels=levels))
    bench.forget()
    assert bench.access(0)["walk_refs_guest"] == levels


def test_misses_are_those_of_a_native_machine() -> None:
    """The TLBs hold the same at all times, so a trace misses them as often, whoever refills them."""
    trace = vmem.Trace.open("gups")
    found = {}
    for name, options in {
        "native": {"mmu": "native"},
        "without": {"mmu": "software-tlb"},
        "with": {"mmu": "software-tlb", "software_tlb": 8192},
    }.items():
        vm = vmem.Hypervisor("2GiB").create_vm("vm", memory="512MiB", **options)  # type: ignore[arg-type]
        process = vm.guest.spawn()
        process.load(trace)
        process.run(trace, 300_000)
        found[name] = vm.counters()
    for name in ("without", "with"):
        for counter in (
            "accesses",
            "l1d_hits",
            "l1i_hits",
            "l2_hits",
            "tlb_misses",
            "faults.guest_page_fault",
        ):
            assert found[name][counter] == found["native"][counter], (name, counter)
    # A miss that the second level has reaches the guest no more: less of everything that the guest does.
    assert found["with"]["software_tlb_hits"] > 0 == found["without"]["software_tlb_hits"]
    assert found["with"]["exits.tlb_write"] < found["without"]["exits.tlb_write"]
    assert found["with"]["cycles"] < found["without"]["cycles"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"software_tlb": 6}, "accepted are 0 and multiples of 4"),
        ({"software_tlb": -4}, "software_tlb"),
        (
            {
                "cpu": vmem.Cpu.preset("skylake-sp").replace(
                    l1d=vmem.Tlb(16, 4, pages=("2MiB",)), l2=vmem.Tlb(16, 4, pages=("2MiB",))
                )
            },
            "can hold 4 KiB pages",
        ),
    ],
)
def test_impossible_machines(options: dict[str, Any], message: str) -> None:
    with pytest.raises(vmem.ConfigError, match=message):
        vmem.Hypervisor("64MiB").create_vm("vm", memory="16MiB", mmu="software-tlb", **options)
