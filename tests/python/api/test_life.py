"""Things that are gone, and things that are busy."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import vmem
from vmem import ConfigError, Hypervisor, Process, Vm


def uses_of(process: Process, address: int) -> list[Callable[[], Any]]:
    addresses, kinds = vmem.batch([address])
    return [
        lambda: process.mmap(4096),
        lambda: process.munmap(address, 4096),
        lambda: process.mprotect(address, "r", 4096),
        process.brk,
        process.fork,
        process.exit,
        process.mappings,
        lambda: process.resident,
        lambda: process.read(address, 1),
        lambda: process.write(address, b"x"),
        lambda: process.access(addresses, kinds),
        lambda: process.translate(addresses),
        lambda: process.load((addresses, kinds)),
        lambda: process.run((addresses, kinds)),
    ]


def test_every_use_of_an_exited_process_is_an_error(vm: Vm, process: Process) -> None:
    heap = process.mmap("16KiB")
    child = process.fork()
    process.exit()
    for use in uses_of(process, heap.start):
        with pytest.raises(ConfigError, match=f"process {process.pid} of VM 'vm' has exited"):
            use()
    child.write(heap.start, b"lives on")
    # A process made later is another one, whatever it is called.
    again = vm.guest.spawn("app")
    assert again.pid not in {process.pid, child.pid}
    with pytest.raises(ConfigError, match="has exited"):
        process.mappings()


def test_every_use_of_a_destroyed_vm_is_an_error(host: Hypervisor) -> None:
    vm = host.create_vm("web", memory="64MiB")
    process = vm.guest.spawn("app")
    heap = process.mmap("16KiB")
    host.destroy_vm(vm)
    uses = [
        *uses_of(process, heap.start),
        vm.counters,
        lambda: vm.resident,
        lambda: vm.guest.spawn("b"),
        vm.guest.meminfo,
        vm.guest.vmstat,
        vm.vcpus[0].counters,
        vm.vcpus[0].flush_tlb,
    ]
    for use in uses:
        with pytest.raises(ConfigError, match="this VM has been destroyed"):
            use()
    for wrong in (vm, "web", None):
        with pytest.raises(ConfigError, match="is not a VM of this host"):
            host.destroy_vm(wrong)  # type: ignore[arg-type]
    # Its name is free, and the new VM is not the old one.
    twin = host.create_vm("web", memory="64MiB")
    with pytest.raises(ConfigError, match="this VM has been destroyed"):
        vm.counters()
    assert host.vms["web"] is twin
    host.check()


def test_a_vm_of_another_host_is_not_ours(host: Hypervisor) -> None:
    other = Hypervisor("64MiB")
    stranger = other.create_vm("vm", memory="16MiB")
    host.create_vm("vm", memory="16MiB")
    with pytest.raises(ConfigError, match="is not a VM of this host"):
        host.destroy_vm(stranger)
    assert other.vms["vm"] is stranger


def test_a_process_keeps_its_host_alive() -> None:
    process = Hypervisor("64MiB").create_vm("vm", memory="16MiB").guest.spawn("app")
    gc.collect()
    heap = process.mmap("1MiB")
    process.write(heap.start, b"still here")
    assert process.read(heap.start, 10) == b"still here"


def test_bare_memory_is_kept_alive_by_its_users() -> None:
    mmu = vmem.Mmu(vmem.PhysicalMemory("1MiB"))
    view = vmem.PhysicalMemory("1MiB").array
    gc.collect()
    view[:] = 7
    assert int(view.sum()) == 7 << 20
    assert mmu.probe(0).fault is not None


def test_two_threads_at_once_are_refused_not_mixed_up(host: Hypervisor) -> None:
    """One thread runs; the other is told so and touches nothing. Afterwards the host is anyone's again."""
    process = host.create_vm("vm", memory="64MiB").guest.spawn("app")
    heap = process.mmap("16MiB")
    pages = np.arange(4096, dtype=np.uint64) * np.uint64(4096)
    addresses = np.tile(np.uint64(heap.start) + pages, 1000)
    kinds = np.zeros(len(addresses), np.uint8)
    running, tried = threading.Event(), threading.Event()

    def progress(done: int) -> None:
        if done:
            running.set()
            tried.wait(30)

    def run() -> None:
        while not running.is_set():
            results.append(process.access(addresses, kinds, progress=progress))

    results: list[vmem.Summary] = []
    runner = threading.Thread(target=run)
    runner.start()
    try:
        assert running.wait(30), "the other thread reports progress while it runs"
        for use in (
            lambda: process.read(heap.start, 1),
            lambda: process.mmap(4096),
            lambda: host.create_vm("second", memory="16MiB"),
            host.check,
        ):
            with pytest.raises(
                ConfigError, match=r"running in another thread; use one Hypervisor per thread"
            ):
                use()
    finally:
        tried.set()
        runner.join()
    assert results[-1].references == len(addresses)
    assert len(process.mappings()) == 1
    assert list(host.vms) == ["vm"]
    process.mmap(4096)
    host.check()


def test_hosts_of_different_threads_do_not_meet() -> None:
    """The counters of a run are the same whether others run or not."""

    def run(results: list[dict[str, int]]) -> None:
        process = Hypervisor("256MiB").create_vm("vm", memory="64MiB").guest.spawn("app")
        heap = process.mmap("16MiB")
        pages = np.random.default_rng(3).integers(0, 4096, 200_000, dtype=np.uint64)
        addresses = np.uint64(heap.start) + pages * np.uint64(4096)
        results.append(process.access(addresses, np.ones(len(pages), np.uint8)).counters)

    alone: list[dict[str, int]] = []
    run(alone)
    together: list[dict[str, int]] = []
    threads = [threading.Thread(target=run, args=(together,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone * 2


@pytest.fixture
def long_work(process: Process) -> Callable[..., vmem.Summary]:
    """work(progress): a few million references that miss the TLBs, over and over until `progress` has been
    called in their midst.
    """
    heap = process.mmap("16MiB")
    pages = np.arange(4096, dtype=np.uint64) * np.uint64(4096)
    addresses = np.tile(np.uint64(heap.start) + pages, 1000)
    kinds = np.zeros(len(addresses), np.uint8)

    def work(progress: Callable[[int], None]) -> vmem.Summary:
        called = False

        def noted(done: int) -> None:
            nonlocal called
            called = called or done > 0
            progress(done)

        while not called:
            summary = process.access(addresses, kinds, progress=noted)
        return summary

    return work


def test_progress_may_use_the_host_itself(process: Process, long_work: Callable[..., vmem.Summary]) -> None:
    """The callback runs in the thread that is inside; asking questions is allowed there."""
    seen = []
    summary = long_work(lambda done: seen.append((done, process.resident)))
    assert seen
    assert all(0 <= done <= summary.references for done, _ in seen)
    assert seen[-1][1] == 16 << 20


def test_progress_may_look_but_not_change(
    host: Hypervisor, vm: Vm, process: Process, long_work: Callable[..., vmem.Summary]
) -> None:
    """What a callback changed under the feet of the call that it interrupts would make the rest of it
    wrong.
    """
    other = vm.guest.spawn("other")
    heap = process.mappings()[0]
    addresses, kinds = vmem.batch([heap.start])
    refusals = []

    def progress(done: int) -> None:
        looks = (
            host.meminfo,
            vm.counters,
            vm.vcpus[0].counters,
            vm.guest.meminfo,
            vm.guest.vmstat,
            process.mappings,
        )
        assert all(look() for look in looks)
        for change in (
            process.exit,
            other.exit,
            process.fork,
            lambda: host.destroy_vm(vm),
            lambda: host.create_vm("another", memory="16MiB"),
            lambda: other.mmap(4096),
            lambda: process.munmap(heap),
            lambda: other.read(heap.start, 1),
            lambda: process.write(heap.start, b"x"),
            lambda: process.access(addresses, kinds),
            lambda: other.translate(addresses),
            lambda: vm.guest.spawn("third"),
            vm.vcpus[0].flush_tlb,
        ):
            with pytest.raises(ConfigError, match="in the middle of a call") as caught:
                change()
            refusals.append(caught.value)

    summary = long_work(progress)
    assert refusals
    assert summary.segfaults == 0
    assert summary.references == 4096 * 1000
    assert other.mappings() == []


def test_what_progress_raises_stops_the_run(vm: Vm, long_work: Callable[..., vmem.Summary]) -> None:
    stopped_at = 0

    def progress(done: int) -> None:
        nonlocal stopped_at
        stopped_at = done
        if done:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        long_work(progress)
    # Calls that were over before the first report are whole; the one that was stopped ended at the report.
    assert 0 < stopped_at < 4096 * 1000
    assert vm.counters()["accesses"] % (4096 * 1000) == stopped_at
