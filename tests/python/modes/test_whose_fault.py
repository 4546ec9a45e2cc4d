"""Whose fault is it? One test for each row of the hypervisor's table of decisions (docs/design/shadow.md).

The rows of the software-managed TLB are in test_software_tlb.py."""

from __future__ import annotations

from typing import Any

import pytest

import vmem

PAGE = 4096
SYNCS = ("trace", "unsync", "vtlb")
VIRTUAL: list[dict[str, Any]] = [
    {"mmu": "nested"},
    *({"mmu": "shadow", "sync": sync} for sync in SYNCS),
    *({"mmu": "software-tlb", "software_tlb": entries} for entries in (0, 1024)),
]


class Bench:
    """A VM whose process has touched both ends of an area: every table is there and shadowed."""

    def __init__(self, **options: Any) -> None:
        self.host = vmem.Hypervisor("256MiB", swap="64MiB")
        self.vm = self.host.create_vm("guest", memory="64MiB", **options)
        self.process = self.vm.guest.spawn()
        self.area = self.process.mmap("1MiB")
        self.access(0, 1)
        self.access(255, 1)

    def page(self, number: int) -> int:
        return self.area.start + number * PAGE

    def access(self, page: int, kind: int = 0) -> dict[str, int]:
        """The exits and faults that one access makes."""
        summary = self.process.access(*vmem.batch([self.page(page)], kind))
        self.host.check()
        return {
            name: count
            for name, count in summary.counters.items()
            if count and name.startswith(("exits.", "faults."))
        }


def shadow(sync: str) -> Bench:
    return Bench(mmu="shadow", sync=sync)


@pytest.mark.parametrize("sync", SYNCS)
def test_not_present_in_the_guests_table_is_the_guests(sync: str) -> None:
    """The guest's kernel is called; what it then does costs what the way of synchronisation costs."""
    made = shadow(sync).access(1)
    backing = {"faults.backed_on_demand": 1}  # the frame that the kernel takes and zeroes
    expected = {
        # the true fault and the kernel's first touch of its frame; the traced store brings the shadow along
        "trace": {"exits.shadow_page_fault": 2, "exits.page_table_write": 1, "faults.guest_page_fault": 1},
        # the first page's store left the table untraced; the shadow learns of the new entry by a fault
        "unsync": {"exits.shadow_page_fault": 3, "faults.guest_page_fault": 1, "faults.shadow_fill": 1},
        "vtlb": {"exits.shadow_page_fault": 3, "faults.guest_page_fault": 1, "faults.shadow_fill": 1},
    }
    assert made == expected[sync] | backing


@pytest.mark.parametrize("sync", ["trace", "unsync"])
def test_direct_faults_not_present_in_the_guests_table_reaches_the_guest_without_an_exit(sync: str) -> None:
    """As above, less the exit of the true fault: the others are the hypervisor's."""
    bench = Bench(mmu="shadow", sync=sync, direct_faults=True)
    made = bench.access(1)
    expected = {
        # the kernel's first touch of its frame, and its traced store
        "trace": {"exits.shadow_page_fault": 1, "exits.page_table_write": 1, "faults.guest_page_fault": 1},
        # an untraced table is in doubt: every fault exits, until the guest flushes
        "unsync": {"exits.shadow_page_fault": 3, "faults.guest_page_fault": 1, "faults.shadow_fill": 1},
    }
    assert made == expected[sync] | {"faults.backed_on_demand": 1}
    bench.process.access(*vmem.batch([bench.page(39)], 1))
    bench.process.munmap(bench.area.start, 40 * PAGE)  # more than 33 pages: the guest loads CR3
    bench.process.mmap(40 * PAGE, at=bench.area.start)
    # In step again, whatever the way; the frame that the kernel takes is backed already.
    assert bench.access(2) == {"exits.page_table_write": 1, "faults.guest_page_fault": 1}


@pytest.mark.parametrize("sync", ["trace", "unsync"])
def test_direct_faults_present_in_the_guests_table_exits(sync: str) -> None:
    """Missing in the shadow alone, forbidden, or clean: the hypervisor has to look."""
    bench = Bench(mmu="shadow", sync=sync, direct_faults=True)
    bench.access(1)
    assert bench.access(1, 1) == {"exits.shadow_page_fault": 1, "faults.dirty_trap": 1}
    bench.process.mprotect(bench.area, "r")
    refused = bench.process.access(*vmem.batch([bench.page(0)], 1))
    assert (refused.segfaults, refused.exits["shadow_page_fault"]) == (1, 1)


@pytest.mark.parametrize("pages", [1, 200])
def test_direct_faults_save_exactly_the_exits_of_true_faults_when_tracing(pages: int) -> None:
    made = {}
    for direct in (False, True):
        bench = Bench(mmu="shadow", sync="trace", direct_faults=direct)
        summary = bench.process.access(*vmem.batch([bench.page(i) for i in range(1, pages + 1)], 1))
        bench.host.check()
        made[direct] = {k: v for k, v in summary.counters.items() if k.startswith(("exits.", "faults."))}
    assert made[False]["faults.guest_page_fault"] == pages
    saved = {k: made[False][k] - made[True][k] for k in made[True] if made[True][k] != made[False][k]}
    assert saved == {"exits.shadow_page_fault": pages}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sync": "vtlb"}, "accepted with trace and unsync only"),
        ({"cpu": vmem.Cpu.preset("skylake-sp").replace(maxphyaddr=52)}, "accepted is a maxphyaddr up to 51"),
    ],
)
def test_direct_faults_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(vmem.ConfigError, match=message):
        vmem.Hypervisor("64MiB").create_vm("vm", memory="16MiB", mmu="shadow", direct_faults=True, **options)


@pytest.mark.parametrize("sync", SYNCS)
def test_forbidden_by_the_guests_table_is_the_guests(sync: str) -> None:
    bench = shadow(sync)
    bench.process.mprotect(bench.area, "r")
    assert bench.access(0) == (
        {} if sync != "vtlb" else {"exits.shadow_page_fault": 1, "faults.shadow_fill": 1}
    )
    made = bench.process.access(*vmem.batch([bench.page(0)], 1))
    assert made.segfaults == 1
    assert made.faults["guest_page_fault"] == 1
    assert made.exits["shadow_page_fault"] == 1


def test_missing_in_the_shadow_alone_is_the_hypervisors() -> None:
    """A virtual TLB is empty after a flush; the guest never learns of the fault."""
    bench = shadow("vtlb")
    bench.process.mprotect(bench.area, "rw", "1MiB")  # nothing changes, nothing is flushed
    before = bench.vm.guest.vmstat()["pgfault"]
    far = bench.process.mmap("1MiB")
    bench.process.access(*vmem.batch(range(far.start, far.end, PAGE), 1))
    bench.process.munmap(far)  # more than 33 pages: the guest flushes by loading CR3
    assert bench.access(0, 1) == {"exits.shadow_page_fault": 1, "faults.shadow_fill": 1}
    assert bench.vm.guest.vmstat()["pgfault"] == before + 256


def test_a_store_to_a_traced_table_is_emulated() -> None:
    """Every store to a guest table exits with "trace", a table's first with "unsync", none with "vtlb"."""
    stores = {}
    for sync in SYNCS:
        bench = shadow(sync)
        before = bench.vm.counters()["exits.page_table_write"]
        for page in range(1, 101):
            bench.access(page, 1)
        stores[sync] = bench.vm.counters()["exits.page_table_write"] - before
    assert stores == {"trace": 100, "unsync": 0, "vtlb": 0}


@pytest.mark.parametrize("sync", SYNCS)
def test_the_first_store_to_a_clean_page_is_the_hypervisors(sync: str) -> None:
    """The shadow withholds write permission until the guest's own dirty bit is set."""
    bench = shadow(sync)
    bench.access(1)
    assert bench.access(1, 1) == {"exits.shadow_page_fault": 1, "faults.dirty_trap": 1}
    assert bench.access(1, 1) == {}


@pytest.mark.parametrize("options", VIRTUAL)
def test_a_frame_without_machine_memory_is_the_hypervisors(options: dict[str, Any]) -> None:
    bench = Bench(**options)
    resident = bench.vm.resident
    assert bench.access(1)["faults.backed_on_demand"] == 1
    assert bench.vm.resident == resident + PAGE


@pytest.mark.parametrize("options", [{"mmu": "nested"}, *({"mmu": "shadow", "sync": sync} for sync in SYNCS)])
def test_a_frame_swapped_out_by_the_host_is_the_hypervisors(options: dict[str, Any]) -> None:
    """The vCPU waits for the disk; the guest sees nothing but time."""
    bench = Bench(**options)
    bench.process.write(bench.page(0), b"here")
    assert bench.vm.swap_out(bench.vm.read_physical(0, bench.vm.memory).index(b"here"))
    made = bench.access(0)
    assert made["faults.host_swap_in"] == 1
    assert "faults.guest_page_fault" not in made
    assert bench.process.read(bench.page(0), 4) == b"here"


@pytest.mark.parametrize("options", [{"mmu": "nested"}, *({"mmu": "shadow", "sync": sync} for sync in SYNCS)])
def test_a_frame_shared_copy_on_write_is_the_hypervisors(options: dict[str, Any]) -> None:
    """A load goes through; the first store makes the hypervisor copy."""
    bench = Bench(**options)
    bench.process.write(bench.page(0), b"same")
    bench.process.write(bench.page(255), b"same")
    assert bench.host.share() > 0
    assert "faults.cow_break" not in bench.access(0)
    made = bench.access(0, 1)
    assert made["faults.cow_break"] == 1
    assert "faults.guest_page_fault" not in made
    bench.process.write(bench.page(0), b"mine")
    assert bench.process.read(bench.page(255), 4) == b"same"


def test_with_nested_paging_the_guests_own_fault_makes_no_exit() -> None:
    """The one exit is for the machine frame that the guest's kernel takes."""
    bench = Bench(mmu="nested")
    assert bench.access(1) == {
        "faults.guest_page_fault": 1,
        "exits.ept_violation": 1,
        "faults.backed_on_demand": 1,
    }
    bench.process.munmap(bench.page(1), PAGE)
    assert bench.access(1) == {"faults.guest_page_fault": 1}


def test_a_large_backing_makes_one_violation_for_512_frames() -> None:
    bench = Bench(mmu="nested", backing="2MiB")
    violations = sum(bench.access(page, 1).get("exits.ept_violation", 0) for page in range(1, 256))
    assert violations <= 1


@pytest.mark.parametrize("sync", SYNCS)
def test_a_switch_of_address_space_exits(sync: str) -> None:
    bench = shadow(sync)
    other = bench.vm.guest.spawn()
    area = other.mmap(PAGE)
    before = bench.vm.counters()["exits.cr3_write"]
    for _ in range(5):
        other.access(*vmem.batch([area.start]))
        bench.access(0)
    assert bench.vm.counters()["exits.cr3_write"] == before + 10


@pytest.mark.parametrize("sync", SYNCS)
def test_walks_of_a_shadow_cost_the_native_number_of_references(sync: str) -> None:
    """All of the hypervisor's tables, none of the guest's."""
    bare = vmem.Cpu(psc=None, host_psc=None, nested_tlb=None)
    for options, refs in (
        ({"mmu": "native"}, 4),
        ({"mmu": "shadow", "sync": sync}, 4),
        ({"mmu": "nested"}, 24),
    ):
        bench = Bench(cpu=bare, **options)
        bench.vm.vcpus[0].flush_tlb()
        made = bench.process.access(*vmem.batch([bench.page(0)])).counters
        assert made["walks"] == 1
        assert made["walk_refs"] == refs
        assert made["walk_refs_guest"] == (0 if options["mmu"] == "shadow" else 4)


def test_migration_leaves_no_stale_translation() -> None:
    """A frame that moves takes its TLB entries and its shadow entries with it; its old place is clean."""
    for options in VIRTUAL:
        bench = Bench(**options)
        bench.process.write(bench.page(0), b"precious")
        old = int(bench.process.translate(vmem.batch([bench.page(0)])[0])[0])
        moved = [gpa for gpa in range(0, 64 << 20, PAGE) if bench.vm.migrate(gpa)]
        assert len(moved) * PAGE == bench.vm.resident
        new = int(bench.process.translate(vmem.batch([bench.page(0)])[0])[0])
        assert new != old
        assert bench.process.read(bench.page(0), 8) == b"precious"
        bench.host.check()
