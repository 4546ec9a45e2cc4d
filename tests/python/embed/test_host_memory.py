"""madvise, brk, and what the host does with single pages, through the C interface as in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vmem

from .chost import CHost

pytest.importorskip("cffi")
MIB = 1 << 20


def test_madvise_and_brk(installed: Path) -> None:
    c = CHost(memory=128 * MIB)
    vm = c.create_vm(memory=64 * MIB)
    process = c.spawn(vm)
    twin = vmem.Hypervisor("128MiB").create_vm("vm", memory="64MiB")
    of_twin = twin.guest.spawn("app")
    request = c.structure("vmem_map_request", length=8 * MIB, protection=3)
    start = c.ask("uint64_t", "vmem_process_mmap", vm, 0, process, request)
    assert of_twin.mmap("8MiB").start == start
    advise = c.lib.vmem_process_madvise
    lib = c.lib
    for advice, name in ((lib.VMEM_HUGEPAGE, "hugepage"), (lib.VMEM_NOHUGEPAGE, "nohugepage")):
        half = start if name == "hugepage" else start + 4 * MIB
        c.check(advise(c.host, vm, 0, process, half, 4 * MIB, advice))
        of_twin.madvise(half, name, 4 * MIB)
    c.check(lib.vmem_process_write(c.host, vm, 0, process, start + 8191, b"ab", 2, c.ffi.NULL))
    of_twin.write(start + 8191, b"ab")
    c.check(advise(c.host, vm, 0, process, start + 8192, 4096, lib.VMEM_DONTNEED))
    of_twin.madvise(start + 8192, "dontneed", 4096)
    found = c.ffi.new("char[2]")
    c.check(lib.vmem_process_read(c.host, vm, 0, process, start + 8191, found, 2, c.ffi.NULL))
    assert bytes(c.ffi.buffer(found)) == of_twin.read(start + 8191, 2) == b"a\0"

    heap = c.ask("uint64_t", "vmem_process_brk", vm, 0, process, 0)
    assert heap == of_twin.brk()
    for end in (heap + 10_000, 5, heap + 100):
        assert c.ask("uint64_t", "vmem_process_brk", vm, 0, process, end) == of_twin.brk(end)
    expected = twin.guest.vmstat()
    assert expected == {name: c.ask("uint64_t", "vmem_guest_vmstat", vm, name.encode()) for name in expected}
    counted = twin.counters()
    assert c.counters(vm, counted) == counted


@pytest.mark.parametrize("mode", ["nested", "native", "shadow", "software-tlb"])
def test_pages_of_the_host(installed: Path, mode: str) -> None:
    c = CHost(memory=256 * MIB, swap=16 * MIB)
    number = {"nested": 0, "native": 1, "shadow": 2, "software-tlb": 3}[mode]
    vm = c.create_vm(memory=64 * MIB, backing=c.lib.VMEM_PAGE_2M, mode=number)
    host = vmem.Hypervisor("256MiB", swap="16MiB")
    twin = host.create_vm("vm", memory="64MiB", backing="2MiB", mmu=mode)  # type: ignore[arg-type]
    process, of_twin = c.spawn(vm), twin.guest.spawn("app")
    request = c.structure("vmem_map_request", length=32 * MIB, protection=3)
    start = c.ask("uint64_t", "vmem_process_mmap", vm, 0, process, request)
    pages = np.uint64(of_twin.mmap("32MiB").start) + np.arange(8192, dtype=np.uint64) * np.uint64(4096)
    kinds = np.ones(len(pages), np.uint8)
    assert start == pages[0]
    where = (c.ffi.from_buffer("uint64_t[]", pages), c.ffi.from_buffer("uint8_t[]", kinds))
    touch = c.lib.vmem_process_access_batch
    for at in range(0, 60 * MIB, 3 * MIB):
        if at in (30 * MIB, 45 * MIB):
            c.check(touch(c.host, vm, 0, process, *where, len(kinds), c.ffi.NULL))
            of_twin.access(pages, kinds)
        for function in ("split", "collapse", "swap_out", "swap_out", "collapse"):
            done = c.ask("uint32_t", f"vmem_vm_{function}", vm, at)
            assert done == getattr(twin, function)(at), (function, at)
    for name in ("swapped_out", "swapped_in", "split", "collapsed"):
        found = c.ask("uint64_t", "vmem_host_counter", name.encode())
        assert found == host.stat()[name]
        assert (found > 0) == (mode != "native"), name
    assert c.ask("uint64_t", "vmem_vm_counter", vm, b"swapped") == twin.swapped
    c.check(c.lib.vmem_vm_swap_out(c.host, vm, 2**64 - 1, c.ffi.NULL))
    c.check(c.lib.vmem_host_check(c.host))
