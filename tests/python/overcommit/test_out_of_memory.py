"""More than a guest can have: an event with numbers, a dead process, and everybody else's data as before."""

from __future__ import annotations

import pytest

import vmem

MIB = 1 << 20


def other_vm(host: vmem.Hypervisor):
    process = host.create_vm("other", memory="64MiB").guest.spawn()
    area = process.mmap("1MiB")
    process.write(area.start, b"mine")
    return process, area


@pytest.mark.parametrize("mmu", ["nested", "shadow", "software-tlb"])
@pytest.mark.parametrize("size", ["256MiB", "8GiB", "64TiB"])
def test_a_workload_bigger_than_its_guest(mmu, size):
    host = vmem.Hypervisor("256MiB", swap="64MiB")
    other, area = other_vm(host)
    vm = host.create_vm("small", memory="64MiB", swap="64MiB", mmu=mmu)
    lives_on = vm.guest.spawn("lives on")
    kept = lives_on.mmap("1MiB")
    lives_on.write(kept.start, b"kept")
    program = vm.guest.spawn("too big").start(vmem.workload("stride", size=size, writes=1.0))
    host.run("1s")
    assert program.stopped == "its guest is out of memory"
    (event,) = [event for event in host.events() if event.kind == "oom_kill"]
    assert event.subject == "too big" and event.numbers["swap_free"] == 0
    held = event.numbers["resident"] + event.numbers["swapped"]
    assert 110 * MIB < held < 128 * MIB
    assert vm.guest.vmstat()["oom_kill"] == 1
    assert other.read(area.start, 4) == b"mine" and lives_on.read(kept.start, 4) == b"kept"
    assert vm.guest.free > 50 * MIB
    host.check()


def test_a_workload_bigger_than_any_address_space():
    with pytest.raises(vmem.ConfigError, match="at most 70368744177664"):
        vmem.workload("stride", size="200TiB")


def test_a_map_bigger_than_what_is_left_of_the_address_space():
    host = vmem.Hypervisor("256MiB")
    other, area = other_vm(host)
    process = host.create_vm("a", memory="64MiB").guest.spawn()
    process.mmap("100TiB")
    with pytest.raises(vmem.VmemError, match="bytes"):
        process.mmap("100TiB")
    assert other.read(area.start, 4) == b"mine"
    host.check()


def test_a_host_that_is_too_small_for_another_guest_keeps_those_it_has():
    host = vmem.Hypervisor("1MiB")
    message = ""
    for i in range(100):
        try:
            host.create_vm(f"vm{i}", memory="64MiB")
        except vmem.OutOfMemory as error:
            message = str(error)
            break
    assert 1 <= len(host.vms) == i and message.startswith(f"VM 'vm{i}' cannot boot: ")
    for vm in host:
        assert not vm.is_killed and vm.guest.meminfo()["MemFree"] > 60 * MIB
    host.check()


def test_a_guest_whose_swap_disk_fails_kills_only_who_needs_it():
    host = vmem.Hypervisor("256MiB")
    other, area = other_vm(host)
    vm = host.create_vm("a", memory="64MiB", swap="64MiB")
    vm.guest.swap_detects_zeros = False
    process = vm.guest.spawn()
    mapped = process.mmap("80MiB")
    summary = process.access(*vmem.batch(range(mapped.start, mapped.end, 4096), 1))
    assert not summary.killed and process.swapped > 0
    assert other.read(area.start, 4) == b"mine"
    host.check()
