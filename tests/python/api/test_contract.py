"""What holds for every machine: probes change nothing, what is unmapped is gone, nobody sees what was
another's.
"""

from __future__ import annotations

import numpy as np
import pytest

import vmem
from vmem import Hypervisor, Process, Vm

PAGE = 4096
MODES = ["native", "nested", "shadow", "software-tlb"]


def pages_of(mapping: vmem.Mapping) -> np.ndarray:
    """The addresses of the pages of a mapping."""
    return np.arange(mapping.start, mapping.end, PAGE, dtype=np.uint64)


def state_of(host: Hypervisor, vm: Vm, processes: list[Process]) -> list[object]:
    """Everything there is to see of a VM."""
    return [
        vm.counters(),
        [vcpu.counters() for vcpu in vm.vcpus],
        host.meminfo(),
        vm.guest.meminfo(),
        vm.guest.vmstat(),
        [(process.mappings(), process.resident) for process in processes],
    ]


def test_translate_changes_nothing(host: Hypervisor, vm: Vm, process: Process) -> None:
    """Not what can be seen, and not what decides the next accesses: TLBs, replacement, accessed and dirty
    bits.
    """
    twin = Hypervisor("1GiB").create_vm("vm", memory="64MiB", vcpus=2, mmu=vm.mmu).guest.spawn("app")
    pages = {}
    for each in (process, twin):
        heap = each.mmap("4MiB")
        pages[each] = pages_of(heap)
        each.access(pages[each][::2], np.ones(512, np.uint8))
    assert (pages[process] == pages[twin]).all()
    rng = np.random.default_rng(11)
    for _ in range(20):
        before = state_of(host, vm, [process])
        found = process.translate(pages[process]) != vmem.UNMAPPED
        assert found[::2].all()
        assert state_of(host, vm, [process]) == before
        chosen = rng.integers(0, len(pages[process]), 500)
        kinds = rng.integers(0, 2, 500, dtype=np.uint8)
        summaries = [each.access(pages[each][chosen], kinds) for each in (process, twin)]
        assert summaries[0] == summaries[1], "the process that was probed goes on as the one that was not"


def test_translate_is_where_the_bytes_are(host: Hypervisor, vm: Vm, process: Process) -> None:
    """Two processes that share a page after fork translate to one machine address, until one of them
    writes.
    """
    heap = process.mmap("64KiB")
    process.write(heap.start, b"\1" * heap.length)
    child = process.fork()
    assert (process.translate(pages_of(heap)) == child.translate(pages_of(heap))).all()
    child.write(heap.start + 5 * PAGE, b"x")
    child.read(heap.start, heap.length)
    process.read(heap.start, heap.length)
    differs = process.translate(pages_of(heap)) != child.translate(pages_of(heap))
    assert differs.tolist() == [index == 5 for index in range(16)]
    frames = np.concatenate([process.translate(pages_of(heap)), child.translate(pages_of(heap))[5:6]])
    assert len(np.unique(frames)) == 17


def test_fork_copies_on_write_in_both_directions(vm: Vm, process: Process) -> None:
    heap = process.mmap("1MiB")
    process.write(heap.start, b"A" * heap.length)
    resident, allocated = vm.guest.free, vm.guest.vmstat()["pgalloc"]
    child = process.fork()
    assert child.resident == process.resident == heap.length
    # Page tables of the child, and nothing else.
    assert resident - vm.guest.free < 16 * PAGE
    process.write(heap.start, b"B" * PAGE)
    child.write(heap.start + PAGE, b"C" * PAGE)
    grandchild = child.fork()
    child.write(heap.start + 2 * PAGE, b"D")
    assert process.read(heap.start, 3 * PAGE) == b"B" * PAGE + b"A" * 2 * PAGE
    assert child.read(heap.start, 3 * PAGE) == b"A" * PAGE + b"C" * PAGE + b"D" + b"A" * (PAGE - 1)
    assert grandchild.read(heap.start, 3 * PAGE) == b"A" * PAGE + b"C" * PAGE + b"A" * PAGE
    assert vm.guest.vmstat()["pgalloc"] - allocated < 40
    process.exit()
    child.exit()
    assert grandchild.read(heap.start, heap.length) == b"A" * PAGE + b"C" * PAGE + b"A" * (
        heap.length - 2 * PAGE
    )
    # The last owner writes in place: nothing is left to copy for.
    copied = vm.guest.vmstat()["pgalloc"]
    grandchild.write(heap.start, b"E" * heap.length)
    assert vm.guest.vmstat()["pgalloc"] == copied
    grandchild.exit()
    assert vm.guest.free >= resident


def test_munmap_really_unmaps(vm: Vm, process: Process) -> None:
    heap = process.mmap("1MiB")
    process.write(heap.start, b"secret!!" * (heap.length // 8))
    free = vm.guest.free
    middle = heap.start + 64 * PAGE
    process.munmap(middle, 64 * PAGE)
    assert vm.guest.free - free >= 64 * PAGE
    assert (process.translate(pages_of(heap))[64:128] == vmem.UNMAPPED).all()
    for address in (middle, middle + 64 * PAGE - 1):
        with pytest.raises(vmem.SegmentationFault):
            process.read(address, 1)
    summary = process.access(pages_of(heap), np.zeros(256, np.uint8))
    assert (summary.segfaults, summary.first_segfault) == (64, middle)
    # Mapped again, it is new memory.
    process.mmap(64 * PAGE, at=middle)
    assert process.read(middle, 64 * PAGE) == bytes(64 * PAGE)
    assert process.read(heap.start, 8) == b"secret!!"


def test_unmapping_reaches_the_other_processors(host: Hypervisor, vm: Vm, process: Process) -> None:
    """A translation cached by one vCPU must not outlive the mapping that another one takes away."""
    heap = process.mmap("256KiB")
    process.write(heap.start, b"\7" * heap.length)
    process.vcpu = 1
    assert process.read(heap.start, heap.length) == b"\7" * heap.length
    process.vcpu = 0
    process.munmap(heap.start, PAGE)
    process.mprotect(heap.start + PAGE, "r", PAGE)
    thief = vm.guest.spawn("thief")
    loot = thief.mmap(PAGE)
    thief.write(loot.start, b"mine")
    process.vcpu = 1
    with pytest.raises(vmem.SegmentationFault):
        process.read(heap.start, 1)
    with pytest.raises(vmem.SegmentationFault):
        process.write(heap.start + PAGE, b"x")
    assert process.read(heap.start + PAGE, 1) == b"\7"


def test_processes_do_not_see_each_other(vm: Vm) -> None:
    """Same addresses, different bytes, interleaved on both vCPUs; then what one leaves is no other's."""
    crowd = [vm.guest.spawn(f"p{index}", vcpu=index % 2) for index in range(8)]
    heaps = [process.mmap("256KiB", at=0x10_0000_0000) for process in crowd]
    for turn in range(3):
        for index, (process, heap) in enumerate(zip(crowd, heaps, strict=True)):
            process.vcpu = (index + turn) % 2
            expected = bytes([index]) * heap.length if turn else bytes(heap.length)
            assert process.read(heap.start, heap.length) == expected
            process.write(heap.start, bytes([index]) * heap.length)
    frames = np.concatenate([process.translate(pages_of(heaps[0])) for process in crowd])
    assert len(np.unique(frames)) == 8 * 64
    for process in crowd[:-1]:
        process.exit()
    new = vm.guest.spawn("new")
    room = new.mmap("16MiB")
    assert new.read(room.start, room.length) == bytes(room.length)
    assert crowd[-1].read(heaps[0].start, heaps[0].length) == bytes([7]) * heaps[0].length


@pytest.mark.parametrize("backing", ["4KiB", "2MiB"])
@pytest.mark.parametrize("page", ["4KiB", "2MiB"])
@pytest.mark.parametrize("second", MODES)
@pytest.mark.parametrize("first", MODES)
def test_a_destroyed_vm_leaves_no_secret(first: str, second: str, page: str, backing: str) -> None:
    """All of the host's memory goes to a second VM, which reads zeros wherever it looks."""
    host = Hypervisor("96MiB")
    secret = host.create_vm("secret", memory="64MiB", mmu=first, backing=backing)
    owner = secret.guest.spawn("owner")
    heap = owner.mmap("40MiB", page=page)
    owner.write(heap.start, b"password" * (heap.length // 8))
    assert host.meminfo()["resident.secret"] >= heap.length
    host.destroy_vm(secret)
    assert host.meminfo()["used"] <= 64 * PAGE
    reader = host.create_vm("reader", memory="64MiB", mmu=second, backing=backing).guest.spawn("reader")
    found = reader.mmap("48MiB", page=page)
    assert reader.read(found.start, found.length) == bytes(found.length)
    host.check()


def test_vms_on_one_host_do_not_see_each_other(host: Hypervisor) -> None:
    vms = [host.create_vm(f"{mode}{index}", memory="32MiB", mmu=mode) for mode in MODES for index in range(2)]  # type: ignore[arg-type]
    processes = [vm.guest.spawn("app") for vm in vms]
    heaps = [process.mmap("8MiB") for process in processes]
    for index, (process, heap) in enumerate(zip(processes, heaps, strict=True)):
        process.write(heap.start, bytes([index + 1]) * heap.length)
    for index, (process, heap) in enumerate(zip(processes, heaps, strict=True)):
        assert process.read(heap.start, heap.length) == bytes([index + 1]) * heap.length
    frames = np.concatenate([p.translate(pages_of(heap)) for p, heap in zip(processes, heaps, strict=True)])
    assert len(np.unique(frames)) == len(frames)
    host.check()


def test_what_one_vm_does_is_not_counted_for_another(host: Hypervisor) -> None:
    busy, idle = (host.create_vm(name, memory="32MiB", vcpus=2) for name in ("busy", "idle"))
    before = [idle.counters(), idle.guest.vmstat(), idle.resident]
    process = busy.guest.spawn("app", vcpu=1)
    heap = process.mmap("1MiB")
    process.access(pages_of(heap), np.ones(256, np.uint8))
    assert [idle.counters(), idle.guest.vmstat(), idle.resident] == before
    assert busy.vcpus[0].counters()["accesses"] == 0
    assert busy.vcpus[1].counters()["accesses"] == 256
    assert busy.counters()["accesses"] == 256


def test_the_same_is_the_same(vm: Vm) -> None:
    """Same seed, same calls, same counters: to the last one, in another host."""

    def run() -> list[object]:
        host = Hypervisor("1GiB", seed=7)
        machine = host.create_vm("vm", memory="64MiB", vcpus=2, mmu=vm.mmu)  # type: ignore[arg-type]
        process = machine.guest.spawn("app")
        heap = process.mmap("16MiB", page="auto")
        rng = np.random.default_rng(5)
        for vcpu in (0, 1, 0):
            process.vcpu = vcpu
            pages = rng.choice(pages_of(heap), 3000)
            process.access(pages, rng.integers(0, 2, 3000, dtype=np.uint8))
            child = process.fork()
            child.access(pages[:100], np.ones(100, np.uint8))
            child.exit()
        return state_of(host, machine, [process])

    assert run() == run()


def test_a_guest_without_memory_kills_and_goes_on(vm: Vm, process: Process) -> None:
    other = vm.guest.spawn("other")
    kept = other.mmap("1MiB")
    other.write(kept.start, b"kept")
    greedy = process.mmap("256MiB")
    summary = process.access(pages_of(greedy), np.ones(65536, np.uint8))
    assert summary.killed
    assert summary.references < 65536
    assert vm.guest.vmstat()["oom_kill"] == 1
    assert other.read(kept.start, 4) == b"kept"
    # What it had is free again.
    again = vm.guest.spawn("again").mmap("32MiB")
    assert again.length == 32 << 20
    assert vm.guest.free > 48 << 20


def test_a_host_without_memory_says_so_and_stays_whole() -> None:
    host = Hypervisor("64MiB")
    vm = host.create_vm("big", memory="256MiB")
    process = vm.guest.spawn("app")
    heap = process.mmap("128MiB")
    with pytest.raises(vmem.OutOfMemory):
        process.write(heap.start, b"x" * heap.length)
    host.check()
    assert vm.is_killed
    host.destroy_vm(vm)
    small = host.create_vm("small", memory="32MiB").guest.spawn("app")
    room = small.mmap("16MiB")
    assert small.read(room.start, room.length) == bytes(room.length)
    host.check()
