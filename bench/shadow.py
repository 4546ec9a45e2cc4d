"""How fast a shadow page table is kept: hidden fills, and emulated stores to traced guest tables."""

from __future__ import annotations

import time

import numpy as np

import vmem


def _machine(sync: vmem.hypervisor.ShadowSync, pages: int) -> tuple[vmem.Vm, vmem.Process, vmem.Mapping]:
    """A process that has stored to every page of an area."""
    vm = vmem.Hypervisor("8GiB").create_vm(
        "shadow", memory="4GiB", mmu="shadow", sync=sync, shadow_pages=pages // 100 + 1000
    )
    process = vm.guest.spawn("bench")
    area = process.mmap(pages * 4096)
    process.access(np.arange(area.start, area.end, 4096, dtype=np.uint64), np.ones(pages, np.uint8))
    return vm, process, area


def fills(pages: int) -> float:
    """Seconds per hidden fill: one access to each page of a virtual TLB that has just been emptied."""
    vm, process, area = _machine("vtlb", pages)
    far = process.mmap("1MiB")
    process.access(np.arange(far.start, far.end, 4096, dtype=np.uint64), np.ones(256, np.uint8))
    process.munmap(far)  # more than 33 pages: the guest flushes by loading CR3
    addresses = np.arange(area.start, area.end, 4096, dtype=np.uint64)
    before = vm.counters()["faults.shadow_fill"]
    start = time.perf_counter()
    process.access(addresses, np.zeros(pages, np.uint8))
    seconds = time.perf_counter() - start
    made = vm.counters()["faults.shadow_fill"] - before
    assert made == pages, (made, pages)
    return seconds / made


def traced_stores(pages: int) -> float:
    """Seconds per emulated store: the guest's kernel changes the protection of every page and back."""
    vm, process, area = _machine("trace", pages)
    before = vm.counters()["exits.page_table_write"]
    start = time.perf_counter()
    process.mprotect(area, "r")
    process.mprotect(area, "rw")
    seconds = time.perf_counter() - start
    made = vm.counters()["exits.page_table_write"] - before
    assert made >= 2 * pages, (made, pages)
    return seconds / made
