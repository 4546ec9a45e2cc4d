"""Free pages that a guest tells its host: free page reporting, free page hinting, and poison."""

from __future__ import annotations

import pytest

import vmem

MIB = 1 << 20
BLOCK = 2 * MIB


def balloon(vm: vmem.Vm) -> vmem.Balloon:
    assert vm.balloon is not None
    return vm.balloon


def driver(vm: vmem.Vm) -> vmem.BalloonDriver:
    assert vm.guest.balloon_driver is not None
    return vm.guest.balloon_driver


def touch(vm: vmem.Vm, size: str) -> vmem.Process:
    process = vm.guest.spawn()
    heap = process.mmap(size)
    process.access(*vmem.batch(range(heap.start, heap.end, 4096), 1))
    return process


def gpa_of_first_page(vm: vmem.Vm, process: vmem.Process) -> int:
    """Found by what is written there."""
    process.write(process.mappings()[0].start, b"to be found")
    found = vm.read_physical(0, "256MiB").find(b"to be found")
    assert found > 0 and found % 4096 == 0
    return found


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
def test_what_a_process_leaves_behind_is_reported_and_another_vm_uses_it(mmu: vmem.MmuMode) -> None:
    hv = vmem.Hypervisor(memory="400MiB")
    vm = hv.create_vm("a", memory="256MiB", mmu=mmu, balloon={"free_page_reporting": True})
    hv.advance("3s")  # what was free at boot has been told
    process = touch(vm, "160MiB")
    total, resident = vm.guest.meminfo()["MemTotal"], vm.resident
    assert resident > 160 * MIB
    process.exit()
    hv.advance("1900ms")
    assert vm.resident == resident
    hv.advance("4s")
    assert vm.resident < 30 * MIB
    counters = balloon(vm).counters()
    assert counters["reported_discarded"] >= 130 * MIB // 4096
    assert counters["reported"] == driver(vm).stat()["reported_pages"]
    assert balloon(vm).actual == 256 * MIB
    assert vm.guest.meminfo()["MemTotal"] == total
    cycles = driver(vm).stat()["report_cycles"]
    hv.advance("20s")
    assert driver(vm).stat()["report_cycles"] == cycles
    touch(hv.create_vm("b", memory="256MiB", mmu=mmu), "200MiB")
    touch(vm, "80MiB")
    assert set(balloon(vm).violations().values()) == {0}
    hv.check()


def test_the_first_report_comes_two_seconds_after_boot_and_not_without_the_feature() -> None:
    hv = vmem.Hypervisor(memory="512MiB")
    vm = hv.create_vm("a", memory="256MiB", balloon={"free_page_reporting": True})
    other = hv.create_vm("b", memory="256MiB", balloon=True)
    hv.advance("3s")
    assert driver(vm).stat()["report_cycles"] == 1
    touch(other, "100MiB").exit()
    hv.advance("10s")
    assert driver(other).stat()["report_cycles"] == 0
    assert balloon(other).counters()["reports"] == 0


def test_a_guest_too_small_for_a_whole_request_reports_nothing() -> None:
    hv = vmem.Hypervisor(memory="256MiB")
    vm = hv.create_vm("a", memory="64MiB", balloon={"free_page_reporting": True})
    touch(vm, "40MiB").exit()
    hv.advance("10s")
    # low watermark + (32 << 9) frames are more than the zone has
    assert driver(vm).stat()["report_cycles"] >= 1
    assert balloon(vm).counters()["reports"] == 0


def test_a_report_covers_host_pages_of_2_mib() -> None:
    hv = vmem.Hypervisor(memory="1GiB")
    vm = hv.create_vm("a", memory="256MiB", backing="2MiB", balloon={"free_page_reporting": True})
    touch(vm, "160MiB").exit()
    before = vm.resident
    hv.advance("10s")
    assert vm.resident < before - 140 * MIB
    hv.check()


def test_while_inhibited_reports_take_nothing() -> None:
    hv = vmem.Hypervisor(memory="512MiB")
    vm = hv.create_vm("a", memory="256MiB", balloon={"free_page_reporting": True, "free_page_hint": True})
    touch(vm, "160MiB").exit()
    balloon(vm).inhibited = True
    before = vm.resident
    balloon(vm).start_hinting()
    hv.advance("10s")
    counters = balloon(vm).counters()
    assert counters["reported"] + counters["hinted"] > 0
    assert counters["reported_discarded"] == counters["hinted_discarded"] == 0
    assert vm.resident >= before


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
def test_a_round_of_hinting(mmu: vmem.MmuMode) -> None:
    hv = vmem.Hypervisor(memory="512MiB")
    vm = hv.create_vm("a", memory="128MiB", mmu=mmu, balloon={"free_page_hint": True})
    touch(vm, "80MiB").exit()
    free, resident = vm.guest.free, vm.resident
    assert balloon(vm).hinting == "stopped"
    balloon(vm).start_hinting()
    assert balloon(vm).hinting == "requested"
    hv.advance("10ms")
    assert balloon(vm).hinting == "stopped"  # the driver had no more
    counters, told = balloon(vm).counters(), driver(vm).stat()
    assert counters["hint_rounds"] == told["hint_rounds"] == 1
    assert counters["hints"] == told["hinted_blocks"] == told["hinted_blocks_held"] > 10
    assert counters["hinted"] == 1024 * counters["hints"]
    assert counters["stale_hints"] == 0
    assert vm.guest.free <= free - counters["hinted"] * 4096
    assert vm.resident < resident - 60 * MIB
    balloon(vm).finish_hinting()
    hv.advance("10ms")
    assert balloon(vm).hinting == "done"
    assert driver(vm).stat()["hinted_blocks_held"] == 0
    assert vm.guest.free == free
    balloon(vm).start_hinting()
    hv.advance("10ms")
    assert balloon(vm).counters()["hint_rounds"] == 2
    assert set(balloon(vm).violations().values()) == {0}
    hv.check()


def test_a_guest_that_gets_short_of_memory_takes_hinted_pages_back() -> None:
    hv = vmem.Hypervisor(memory="512MiB")
    vm = hv.create_vm("a", memory="128MiB", balloon={"free_page_hint": True})
    balloon(vm).start_hinting()
    hv.advance("10ms")
    held = driver(vm).stat()["hinted_blocks_held"]
    process = touch(vm, "60MiB")
    assert not process.is_killed
    stat = driver(vm).stat()
    assert stat["hinted_blocks_shrunk"] >= 10
    assert stat["hinted_blocks_held"] == held - stat["hinted_blocks_shrunk"]
    hv.check()


def test_hinting_has_to_be_offered() -> None:
    hv = vmem.Hypervisor(memory="64MiB")
    vm = hv.create_vm("a", memory="32MiB", balloon=True)
    for call in (balloon(vm).start_hinting, balloon(vm).stop_hinting, balloon(vm).finish_hinting):
        with pytest.raises(vmem.ConfigError, match="free_page_hint"):
            call()


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
def test_who_finds_poison_in_its_free_pages_keeps_them(mmu: vmem.MmuMode) -> None:
    hv = vmem.Hypervisor(memory="512MiB")
    features = {"free_page_reporting": True, "free_page_hint": True}
    vm = hv.create_vm("a", memory="256MiB", mmu=mmu, balloon=features, on_free="poison")
    process = touch(vm, "100MiB")
    page = gpa_of_first_page(vm, process)
    process.exit()
    assert vm.read_physical(page, 4096) == b"\xaa" * 4096
    resident = vm.resident
    balloon(vm).start_hinting()
    hv.advance("10s")
    counters = balloon(vm).counters()
    assert counters["hints"] > 0
    assert counters["reported_discarded"] == counters["hinted_discarded"] == 0
    assert vm.resident >= resident
    assert vm.read_physical(page, 4096) == b"\xaa" * 4096
    hv.check()


def test_free_pages_that_are_zeroed_may_be_taken() -> None:
    hv = vmem.Hypervisor(memory="512MiB")
    vm = hv.create_vm("a", memory="256MiB", balloon={"free_page_reporting": True}, on_free="zero")
    process = touch(vm, "160MiB")
    page = gpa_of_first_page(vm, process)
    process.exit()
    assert vm.read_physical(page, 4096) == bytes(4096)
    hv.advance("10s")
    assert balloon(vm).counters()["reported_discarded"] >= 130 * MIB // 4096
    assert set(balloon(vm).violations().values()) == {0}


def test_without_page_poison_a_guest_that_fills_free_pages_reports_none() -> None:
    hv = vmem.Hypervisor(memory="512MiB")
    features = {"free_page_reporting": True, "page_poison": False}
    vm = hv.create_vm("a", memory="256MiB", balloon=features, on_free="zero")
    touch(vm, "100MiB").exit()
    hv.advance("10s")
    assert driver(vm).stat()["report_cycles"] == 0
    keeps = hv.create_vm("b", memory="256MiB", balloon=features)
    hv.advance("3s")
    assert driver(keeps).stat()["report_cycles"] == 1


def test_pages_that_come_out_of_the_balloon_are_filled_again() -> None:
    hv = vmem.Hypervisor(memory="256MiB")
    vm = hv.create_vm("a", memory="64MiB", balloon=True, on_free="poison")
    balloon(vm).target = "48MiB"
    hv.advance("1s")
    pages = driver(vm).pages[:3]
    assert all(vm.read_physical(page * 4096, 16) == bytes(16) for page in pages)
    balloon(vm).target = "64MiB"
    hv.advance("1s")
    assert all(vm.read_physical(page * 4096, 16) == b"\xaa" * 16 for page in pages)


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("hint", [True, False])
def test_queues_are_numbered_over_those_that_exist(statistics: bool, hint: bool) -> None:
    hv = vmem.Hypervisor(memory="512MiB")
    features = {"statistics": statistics, "free_page_hint": hint, "free_page_reporting": True}
    vm = hv.create_vm("a", memory="256MiB", balloon=features)
    balloon(vm).polling_interval = 1
    balloon(vm).target = "192MiB"
    hv.advance("5s")
    assert balloon(vm).actual == 192 * MIB
    assert (balloon(vm).last_update is not None) == statistics
    assert balloon(vm).counters()["reports"] > 0
    assert set(balloon(vm).violations().values()) == {0}


def test_statistics_of_reclaim() -> None:
    hv = vmem.Hypervisor(memory="256MiB")
    vm = hv.create_vm("a", memory="32MiB", balloon=True, swap="64MiB")
    touch(vm, "48MiB")
    balloon(vm).polling_interval = 1
    hv.advance("2s")
    told, stat = balloon(vm).stats, vm.guest.vmstat()
    assert stat["pgsteal_direct"] + stat["pgsteal_kswapd"] > 0
    assert told["stat-alloc-stalls"] == stat["allocstall"]
    assert told["stat-async-scans"] == stat["pgscan_kswapd"] * 4096
    assert told["stat-direct-scans"] == stat["pgscan_direct"] * 4096
    assert told["stat-async-reclaims"] == stat["pgsteal_kswapd"] * 4096
    assert told["stat-direct-reclaims"] == stat["pgsteal_direct"] * 4096
    assert told["stat-oom-kills"] == stat["oom_kill"] == 0
