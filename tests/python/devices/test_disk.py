"""The virtual disk, from the host's side."""

from __future__ import annotations

import pytest

import vmem


def test_a_disk_holds_what_the_host_puts_on_it() -> None:
    hv = vmem.Hypervisor(memory="64MiB")
    vm = hv.create_vm("a", memory="8MiB", disk="10GiB")
    assert vm.disk is not None
    assert vm.disk.size == 10 << 30
    assert vm.disk.read("9GiB", 4) == bytes(4)
    vm.disk.write((9 << 30) + 4095, b"over a page")
    assert vm.disk.read((9 << 30) + 4095, 11) == b"over a page"
    nothing = dict.fromkeys(("reads", "writes", "flushes", "read_bytes", "written_bytes", "errors"), 0)
    # The kernel looks once, when it boots, whether the disk is a swap space.
    assert vm.disk.stat() == nothing | {"reads": 1, "read_bytes": 4096}
    hv.check()


def test_a_disk_ends_where_it_ends() -> None:
    hv = vmem.Hypervisor(memory="64MiB")
    vm = hv.create_vm("a", memory="8MiB", disk="1MiB")
    assert vm.disk is not None
    with pytest.raises(vmem.ConfigError, match="it has 1048576"):
        vm.disk.read("1MiB", 1)
    with pytest.raises(vmem.ConfigError, match="it has 1048576"):
        vm.disk.write((1 << 20) - 1, b"ab")


def test_impossible_disks_leave_no_vm_behind() -> None:
    hv = vmem.Hypervisor(memory="64MiB")
    for wrong in (0, 1000, "1PiB", -1):
        with pytest.raises(vmem.ConfigError):
            hv.create_vm("a", memory="8MiB", disk=wrong)
    free = hv.meminfo()["free"]
    vm = hv.create_vm("a", memory="8MiB", disk="1MiB")
    hv.destroy_vm(vm)
    assert hv.meminfo()["free"] == free
    assert hv.create_vm("b", memory="8MiB").disk is None
