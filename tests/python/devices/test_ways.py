"""The ways to get memory back: what each costs, what it cannot get, and that nobody's data is lost."""

from __future__ import annotations

import numpy as np
import pytest

import vmem
from vmem.mechanisms import compare
from vmem.ways import WAYS

MIB = 1 << 20
PAGE = 4096
MODES = ("nested", "shadow", "software-tlb")


def pages(area) -> tuple:
    return vmem.batch(np.arange(area.start, area.end, PAGE, dtype=np.uint64), 1)


def freed(way: str, mmu: str = "nested", **options):
    """A guest of 256 MiB that has used and freed 128 MiB, and kept one page."""
    host = vmem.Hypervisor("512MiB", swap="512MiB", seed=1, ghz=2.1)
    vm = host.create_vm("guest", memory="256MiB", mmu=mmu, reclaim=way, scan_period="1s", **options)
    process = vm.guest.spawn()
    kept, area = process.mmap("1MiB"), process.mmap("128MiB")
    process.write(kept.start, b"kept")
    process.access(*pages(area))
    before = vm.counters()
    process.munmap(area)
    return host, vm, process, kept, before


@pytest.mark.parametrize("mmu", MODES)
@pytest.mark.parametrize("way", ["hypercall", "hypercall-batched", "scan"])
def test_freed_memory_comes_back_and_data_stays(way, mmu):
    host, vm, process, kept, _ = freed(way, mmu)
    host.advance("3s")
    assert vm.resident < 30 * MIB
    again = process.mmap("128MiB")
    process.write(again.start + 77 * PAGE, b"new")
    process.access(*pages(again))
    assert process.read(again.start + 77 * PAGE, 4) == b"new\0"
    assert process.read(again.start + 78 * PAGE, 4) == bytes(4)
    assert process.read(kept.start, 4) == b"kept"
    host.check()


@pytest.mark.parametrize("way", ["swap", "none"])
def test_without_a_way_nothing_comes_back(way):
    host, vm, *_ = freed(way)
    host.advance("10s")
    assert vm.resident > 128 * MIB


def test_a_vm_with_no_way_is_not_swapped_from():
    host, vm, *_ = freed("none")
    with pytest.raises(vmem.OutOfMemory):
        host.create_process("need", "450MiB")
    assert vm.swapped == 0 and vm.resident > 128 * MIB
    host.check()


def test_each_freed_page_is_a_hypercall():
    _, vm, _, _, before = freed("hypercall")
    gone = {name: value - before[name] for name, value in vm.counters().items()}
    pages_freed = 128 * MIB // PAGE
    # The pages, and the tables that mapped them: 64 of the last level, perhaps some above.
    assert 0 <= gone["exits.hypercall"] - pages_freed - 64 <= 3
    assert (
        gone["free_hints"] == gone["exits.hypercall"] == vm.free_hints()["calls"] - before["exits.hypercall"]
    )
    assert gone["discards"] == gone["discarded_small"] == gone["free_hints"]


def test_batches_hold_512_blocks_and_a_rest_is_sent_after_a_second():
    host, vm, _, _, before = freed("hypercall-batched")
    told = vm.counters()["free_hints"]
    calls = vm.counters()["exits.hypercall"] - before["exits.hypercall"]
    assert told % 512 == 0 and calls == (told - before["free_hints"]) // 512
    host.advance("2s")
    after = vm.counters()
    assert 0 < after["free_hints"] - told < 512
    assert after["exits.hypercall"] - before["exits.hypercall"] == calls + 1
    host.check()


def test_a_batch_that_waits_is_given_back_when_memory_is_short():
    host = vmem.Hypervisor("256MiB")
    vm = host.create_vm("guest", memory="16MiB", reclaim="hypercall-batched")
    process = vm.guest.spawn()
    for _ in range(20):
        area = process.mmap(vm.guest.free // 4096 * 4096 * 9 // 10)
        assert not process.access(*pages(area)).killed
        process.munmap(area)
    host.check()
    assert vm.guest.vmstat()["oom_kill"] == 0


def test_a_scan_that_pauses_makes_its_vcpus_wait_and_one_that_does_not_races():
    def run(pauses: bool):
        host = vmem.Hypervisor("1GiB", seed=2)
        vm = host.create_vm("guest", memory="256MiB", reclaim="scan", scan_period="5ms", scan_pauses=pauses)
        vm.guest.spawn().start(
            vmem.workload(
                "demand",
                curve=[[f"{10 * i}ms", "180MiB" if i % 2 else "4MiB", "4KiB"] for i in range(30)],
                compute="1us",
            )
        )
        host.run("300ms")
        host.check()
        return vm

    paused, racing = run(True), run(False)
    assert paused.scans()["raced"] == 0 < racing.scans()["raced"]
    assert racing.scans()["paused_ns"] == 0 < paused.scans()["paused_ns"] == paused.scans()["host_ns"]
    assert paused.time().waiting == pytest.approx(paused.scans()["paused_ns"], rel=0.1)
    assert racing.time().waiting == 0


def test_a_scan_of_a_guest_it_does_not_know_takes_nothing():
    host, vm, *_ = freed("scan")
    vm.write_physical(0x1000, b"NOTMINE!")
    host.advance("3s")
    assert vm.scans()["unreadable"] == vm.scans()["scans"] == 3
    assert vm.resident > 128 * MIB


@pytest.mark.parametrize("seed", range(8))
def test_free_lists_that_lead_astray_harm_only_their_guest(seed):
    """Random bytes in the kernel's own lists: the scan ends, and takes no other VM's memory."""
    rng = np.random.default_rng(seed)
    host = vmem.Hypervisor("512MiB")
    other = host.create_vm("other", memory="64MiB").guest.spawn()
    area = other.mmap("4MiB")
    for page in range(area.start, area.end, PAGE):
        other.write(page, page.to_bytes(8, "little"))
    vm = host.create_vm("guest", memory="64MiB", reclaim="scan", scan_period="1s")
    for at, length in ((0x1010, 16), (0x2060, 88), (0x2120, 88), (0x10000 + 32 * 4096, 32 * 200)):
        vm.write_physical(at, rng.integers(0, 256, length, np.uint8).tobytes())
    vm.paused = True  # its kernel would not survive that
    host.advance("3s")
    assert vm.scans()["scans"] == 3
    for page in range(area.start, area.end, PAGE):
        assert other.read(page, 8) == page.to_bytes(8, "little")


@pytest.mark.parametrize("touched", [True, False])
def test_a_balloon_costs_what_was_measured(touched):
    """HyperAlloc (EuroSys 2025), virtio-balloon at 2.1 GHz, in GiB/s."""
    host = vmem.Hypervisor("2GiB", ghz=2.1)
    vm = host.create_vm("guest", memory="1GiB", balloon=True)
    process = vm.guest.spawn()
    if touched:
        area = process.mmap("800MiB")
        process.access(*pages(area))
        process.munmap(area)

    def speed(target: str) -> float:
        before, had = vm.counters()["cycles"], vm.balloon.actual
        vm.balloon.target = target
        while vm.balloon.actual != vm.balloon.target:
            host.advance("10ms")
        return abs(vm.balloon.actual - had) / 2**30 / ((vm.counters()["cycles"] - before) / 2.1e9)

    assert speed("512MiB") == pytest.approx(0.951 if touched else 1.671, rel=0.05)
    assert speed("1GiB") == pytest.approx(2.344, rel=0.05)
    area = process.mmap("500MiB")
    before = vm.counters()
    process.access(*pages(area))
    after = vm.counters()
    backed = after["faults.backed_on_demand"] - before["faults.backed_on_demand"]
    seconds = (after["cycles"] - before["cycles"]) / 2.1e9
    assert backed > 100_000
    assert backed * PAGE / 2**30 / seconds == pytest.approx(0.971, rel=0.05)


def test_the_ways_compared():
    by = {outcome.way: outcome for outcome in compare(256 * MIB)}
    assert list(by) == list(WAYS)
    assert by["none"].reclaim.bytes == 0 == by["none"].reclaim.exits
    assert by["swap"].swapped_out > 0
    assert all(outcome.swapped_out == 0 for way, outcome in by.items() if way != "swap")
    # Hypercalls see every freed page and no page cache; a balloon takes the cache, too.
    assert by["hypercall"].left_free < 8 * MIB < by["hypercall"].left_cached
    assert by["balloon"].left_cached < by["hypercall"].left_cached
    assert by["balloon"].reclaim.bytes > by["hypercall"].reclaim.bytes
    each, batched = by["hypercall"].reclaim, by["hypercall-batched"].reclaim
    assert each.exits > 400 * batched.exits and each.cycles > 1.3 * batched.cycles
    # What is resident already costs no exit to touch.
    assert 20 * by["none"].install.exits < by["hypercall"].install.exits
    assert by["scan"].reclaim.host_time > 0
    assert by["scan"].reclaim.exits < 100


def test_pages_that_a_host_of_large_pages_does_not_get_from_a_small_balloon():
    by = {outcome.way: outcome for outcome in compare(256 * MIB, backing="2MiB")}
    assert by["balloon"].reclaim.bytes == 0
    assert by["hypercall"].huge_pages_lost > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reclaim": "magic"}, "reclaim of VM 'a'.*swap"),
        ({"reclaim": "balloon", "balloon": False}, "accepted is one of them"),
        ({"reclaim": "scan", "scan_period": 0}, "scan_period of VM 'a': 0; accepted is more than 0"),
        ({"reclaim": "scan", "scan_pauses": 1}, "scan_pauses"),
        ({"reclaim": "scan", "mmu": "native"}, "no hypervisor to scan"),
    ],
)
def test_ways_that_there_are_not(options, message):
    with pytest.raises(vmem.ConfigError, match=message):
        vmem.Hypervisor("64MiB").create_vm("a", memory="16MiB", **options)
