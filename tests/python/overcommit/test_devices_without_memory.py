"""A guest's disk needs pages that the host has swapped, while the host has no frame to spare but a swap."""

from __future__ import annotations

import pytest

import vmem

MIB = 1 << 20


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
def test_a_guest_swaps_what_its_host_has_swapped(mmu: vmem.MmuMode) -> None:
    """Double paging: more pages than a reserve holds are read from one swap for the other."""
    reclaim = vmem.HostReclaim(balloons=False, soft=(0.8, 1.2), hard=(0.5, 0.8), low=(0.2, 0.5))
    host = vmem.Hypervisor("64MiB", swap="256MiB", reclaim=reclaim)
    vm = host.create_vm("vm", memory="64MiB", swap="128MiB", balloon=True, mmu=mmu)
    vm.guest.swap_detects_zeros = False  # or its kernel reads each page before its disk does
    process = vm.guest.spawn()
    area = process.mmap("48MiB")
    for at in range(area.start, area.end, 4096):
        process.write(at, at.to_bytes(8, "little"))
    host.create_process("hog", host.meminfo()["free"] + 30 * MIB)
    assert vm.swapped > 28 * MIB and host.meminfo()["free"] < MIB
    assert vm.balloon is not None
    vm.balloon.target = "16MiB"
    host.advance("20s")
    assert vm.balloon.actual == 16 * MIB
    assert host.stat()["double_paging"] > 1000
    host.check()
    for at in range(area.start, area.end, 4096):
        assert process.read(at, 8) == at.to_bytes(8, "little")
    host.check()
