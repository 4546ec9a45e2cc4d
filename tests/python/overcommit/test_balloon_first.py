"""A host short of memory asks balloons before it swaps, and both sides' swaps meet on the same page."""

from __future__ import annotations

import numpy as np
import pytest

import vmem

MIB = 1 << 20
PAGE = 4096


def grow(host: vmem.Hypervisor, start: int, end: int) -> vmem.HostProcess:
    """A host process that takes 20 MiB every two seconds."""
    process = host.create_process("backup")
    for size in range(start, end + 1, 20):
        process.resize(size * MIB)
        host.advance("2s")
    return process


def used_and_freed(balloon: bool, mmu: str = "nested", reservation: str = "0MiB"):
    """A guest that has freed 300 MiB, which the host cannot see."""
    host = vmem.Hypervisor("512MiB", swap="1GiB", seed=1)
    vm = host.create_vm("guest", memory="400MiB", mmu=mmu, balloon=balloon, reservation=reservation)
    process = vm.guest.spawn()
    kept = process.mmap("16MiB")
    freed = process.mmap("300MiB")
    for area in (kept, freed):
        process.access(*vmem.batch(range(area.start, area.end, PAGE), 1))
    process.write(kept.start + 5 * PAGE, b"still here")
    process.munmap(freed)
    return host, vm, process, kept


@pytest.mark.parametrize("mmu", ["nested", "shadow", "software-tlb"])
def test_what_a_guest_has_free_comes_by_balloon_and_nothing_is_swapped(mmu):
    host, vm, process, kept = used_and_freed(balloon=True, mmu=mmu)
    grow(host, 160, 400)
    assert host.stat()["swapped_out"] == 0
    assert vm.balloon.actual <= 400 * MIB - 200 * MIB
    assert vm.guest.vmstat()["pswpout"] == 0
    assert process.read(kept.start + 5 * PAGE, 10) == b"still here"
    host.check()


def test_without_a_balloon_the_same_host_swaps():
    host, vm, process, kept = used_and_freed(balloon=False)
    grow(host, 160, 400)
    assert host.stat()["swapped_out"] >= 200 * MIB // PAGE
    assert vm.swapped > 200 * MIB
    assert process.read(kept.start + 5 * PAGE, 10) == b"still here"
    host.check()


def test_what_the_host_no_longer_needs_it_gives_back():
    host, vm, *_ = used_and_freed(balloon=True)
    backup = grow(host, 160, 400)
    before = vm.balloon.actual
    backup.exit()
    host.advance("1s")
    host.advance("10s")
    assert before < 200 * MIB and vm.balloon.actual == vm.balloon.target == 400 * MIB


def test_a_target_that_was_set_stays_when_the_host_gives_back():
    host, vm, *_ = used_and_freed(balloon=True)
    vm.balloon.target = "256MiB"
    host.advance("5s")
    backup = grow(host, 160, 400)
    assert vm.balloon.target < 256 * MIB
    backup.exit()
    host.advance("10s")
    assert vm.balloon.actual == vm.balloon.target == 256 * MIB


def test_the_host_never_asks_for_more_than_it_may():
    """ESX's Mem.CtlMaxPercent is 65; a reservation is never asked for."""
    host, vm, *_ = used_and_freed(balloon=True)
    grow(host, 100, 440)
    assert 140 * MIB - PAGE <= vm.balloon.target < 170 * MIB
    host, vm, *_ = used_and_freed(balloon=True, reservation="256MiB")
    grow(host, 100, 220)
    assert 256 * MIB <= vm.resident < 300 * MIB
    assert host.stat()["swapped_out"] == 0


def test_a_paused_guest_does_not_hear_and_the_host_swaps_then():
    host, vm, *_ = used_and_freed(balloon=True)
    vm.paused = True
    grow(host, 160, 400)
    assert vm.balloon.actual == 400 * MIB
    assert host.stat()["swapped_out"] > 0


def test_pages_that_both_sides_swap_are_read_back_only_to_be_written_again():
    host = vmem.Hypervisor("256MiB", swap="1GiB", seed=3)
    vm = host.create_vm("guest", memory="160MiB", swap="512MiB")
    process = vm.guest.spawn()
    area = process.mmap("100MiB")
    pages = np.arange(area.start, area.end, PAGE, dtype=np.uint64)
    for i, page in enumerate(pages):
        process.write(int(page), i.to_bytes(4, "little"))
    assert host.stat()["double_paging"] == 0
    backup = host.create_process("backup", "200MiB")
    assert vm.swapped > 40 * MIB
    more = process.mmap("80MiB")
    process.access(*vmem.batch(range(more.start, more.end, PAGE), 1))
    stat, guest = host.stat(), vm.guest.vmstat()
    assert 0 < stat["double_paging"] <= min(stat["swapped_in"], guest["pswpout"])
    backup.exit()
    assert all(process.read(int(p), 4) == i.to_bytes(4, "little") for i, p in enumerate(pages))
    host.check()


def test_without_a_host_swap_there_is_no_double_paging():
    host = vmem.Hypervisor("256MiB", seed=3)
    vm = host.create_vm("guest", memory="160MiB", swap="512MiB")
    process = vm.guest.spawn()
    vm.guest.swap_detects_zeros = False
    area = process.mmap("200MiB")
    process.access(*vmem.batch(range(area.start, area.end, PAGE), 1))
    assert vm.guest.vmstat()["pswpout"] > 0
    assert host.stat()["double_paging"] == 0
