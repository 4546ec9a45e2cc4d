"""Run by test_scale.py in an interpreter of its own: prints VmRSS in KiB at points of interest, as JSON."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import vmem


def resident() -> int:
    """KiB of this process in memory."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1])


def many_vms() -> dict[str, float]:
    """A host of 1 TiB with 200 VMs of 4 GiB."""
    before = resident()
    start = time.perf_counter()
    host = vmem.Hypervisor("1TiB")
    for index in range(200):
        host.create_vm(f"vm{index}", memory="4GiB")
    seconds = time.perf_counter() - start
    after = resident()
    host.check()
    return {"before": before, "after": after, "seconds": seconds}


def written() -> dict[str, float]:
    """One process writes 64 MiB of the 8 GiB it has mapped, then unmaps it and another process writes 64
    MiB.
    """
    host = vmem.Hypervisor("1TiB")
    vm = host.create_vm("vm", memory="16GiB")
    process = vm.guest.spawn("app")
    heap = process.mmap("8GiB")
    mapped = resident()
    block = b"\xa5" * (1 << 20)
    for index in range(64):
        process.write(heap.start + (index << 27), block)
    first = resident()
    process.exit()
    second = vm.guest.spawn("app")
    heap = second.mmap("8GiB")
    for index in range(64):
        second.write(heap.start + (index << 27), block)
    reused = resident()
    host.destroy_vm(vm)
    return {"mapped": mapped, "first": first, "reused": reused, "destroyed": resident()}


if __name__ == "__main__":
    print(json.dumps({"many_vms": many_vms, "written": written}[sys.argv[1]]()))
