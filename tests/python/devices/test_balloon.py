"""The balloon from Python: memory of a process that has exited comes back, and goes to another VM."""

from __future__ import annotations

import numpy as np
import pytest

import vmem
from vmem.balloon import UNKNOWN


def touch(vm: vmem.Vm, size: str) -> None:
    process = vm.guest.spawn()
    heap = process.mmap(size)
    process.access(*vmem.batch(range(heap.start, heap.end, 4096), 1))
    process.exit()


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
def test_what_the_balloon_frees_another_vm_can_use(mmu: vmem.MmuMode) -> None:
    hv = vmem.Hypervisor(memory="160MiB")
    vm = hv.create_vm("a", memory="128MiB", mmu=mmu, balloon=True)
    touch(vm, "100MiB")
    assert vm.resident > 100 << 20
    assert vm.balloon is not None
    vm.balloon.target = "32MiB"
    assert vm.balloon.actual == 128 << 20
    hv.advance("1s")
    assert vm.balloon.actual == 32 << 20
    assert vm.resident < 40 << 20
    touch(hv.create_vm("b", memory="110MiB", mmu=mmu), "100MiB")
    vm.balloon.target = "1TiB"
    hv.advance("1s")
    assert vm.balloon.target == vm.balloon.actual == 128 << 20
    assert set(vm.balloon.violations().values()) == {0}
    hv.check()


def test_the_driver_tells_its_pages_and_what_it_did() -> None:
    hv = vmem.Hypervisor(memory="64MiB")
    vm = hv.create_vm("a", memory="32MiB", balloon={"deflate_on_oom": True})
    assert vm.balloon is not None
    driver = vm.guest.balloon_driver
    assert driver is not None
    total = vm.guest.meminfo()["MemTotal"]
    vm.balloon.target = "31MiB"
    hv.advance("100ms")
    assert driver.stat()["balloon_inflate"] == 256
    assert len(driver.pages) == len(np.unique(driver.pages)) == 256
    assert vm.guest.meminfo()["MemTotal"] == total
    assert vm.balloon.counters()["inflate_requests"] == 1


def test_statistics_are_polled() -> None:
    hv = vmem.Hypervisor(memory="64MiB")
    vm = hv.create_vm("a", memory="32MiB", balloon=True)
    assert vm.balloon is not None
    vm.balloon.polling_interval = 2
    hv.advance("5s")
    assert vm.balloon.polling_interval == 2
    assert vm.balloon.last_update is not None
    assert vm.balloon.last_update // 10**9 == 4
    assert vm.balloon.stats["stat-total-memory"] == vm.guest.meminfo()["MemTotal"]
    assert vm.balloon.stats["stat-htlb-pgfail"] == UNKNOWN


def test_bad_balloons() -> None:
    hv = vmem.Hypervisor(memory="64MiB")
    for wrong in ({"bogus": True}, {"deflate_on_oom": 1}, 7):
        with pytest.raises(vmem.ConfigError):
            hv.create_vm("a", memory="8MiB", balloon=wrong)  # type: ignore[arg-type]
    with pytest.raises(vmem.ConfigError, match="native"):
        hv.create_vm("a", memory="8MiB", mmu="native", balloon=True)
    vm = hv.create_vm("a", memory="8MiB", balloon=True)
    assert vm.balloon is not None
    for size in (0, -1):
        with pytest.raises(vmem.ConfigError):
            vm.balloon.target = size
    with pytest.raises(vmem.ConfigError):
        vm.balloon.polling_interval = -1
    assert hv.create_vm("b", memory="8MiB").balloon is None


def test_changes_of_actual_are_kept_for_those_who_watch() -> None:
    hv = vmem.Hypervisor(memory="64MiB")
    vm = hv.create_vm("a", memory="32MiB", balloon=True)
    assert vm.balloon is not None
    vm.balloon.target = "30MiB"
    hv.advance("100ms")
    assert vm.balloon.changes() == []
    vm.balloon.watch()
    vm.balloon.target = "24MiB"
    began = hv.now
    hv.advance("100ms")
    times, actual = zip(*vm.balloon.changes(), strict=True)
    assert actual == tuple(mib << 20 for mib in range(29, 23, -1))
    assert began <= times[0] and list(times) == sorted(times) and times[-1] <= hv.now
    assert vm.balloon.changes() == []
    vm.balloon.target = "25MiB"
    hv.advance("100ms")
    assert [change for _, change in vm.balloon.changes()] == [25 << 20]


def test_of_too_many_changes_the_last_one_is_kept() -> None:
    hv = vmem.Hypervisor(memory="64MiB")
    vm = hv.create_vm("a", memory="32MiB", balloon=True)
    assert vm.balloon is not None
    vm.balloon.watch()
    for _ in range(2100):
        for size in ("31MiB", "32MiB"):
            vm.balloon.target = size
            hv.advance("1ms")
    vm.balloon.target = "16MiB"
    hv.advance("1s")
    changes = vm.balloon.changes()
    assert len(changes) == 4096
    assert [size >> 20 for _, size in changes[:2]] == [31, 32] and changes[-1][1] == 16 << 20


@pytest.mark.parametrize(
    "features", [True, {"must_tell_host": True, "free_page_hint": True, "free_page_reporting": True}]
)
def test_a_driver_is_unloaded_and_loaded_again(features: bool | dict[str, bool]) -> None:
    host = vmem.Hypervisor("512MiB")
    vm = host.create_vm("vm", memory="256MiB", balloon=features)
    assert vm.balloon is not None and vm.guest.balloon_driver is not None
    total = vm.guest.meminfo()["MemTotal"]
    for _ in range(3):
        vm.balloon.target = "128MiB"
        host.advance("5s")
        assert vm.balloon.actual == 128 << 20
        vm.guest.balloon_driver.unload()
        host.advance("3s")
        assert vm.balloon.actual == 256 << 20 and vm.balloon.target == 128 << 20
        assert vm.guest.meminfo()["MemTotal"] == total
        assert vm.balloon.counters()["held"] == 0
        with pytest.raises(vmem.ConfigError, match="not loaded"):
            vm.guest.balloon_driver.unload()
        host.check()
        vm.guest.balloon_driver.load()
        host.advance("5s")
        assert vm.balloon.actual == 128 << 20
        assert len(vm.guest.balloon_driver.pages) == (128 << 20) // 4096
        with pytest.raises(vmem.ConfigError, match="loaded already"):
            vm.guest.balloon_driver.load()
    # A driver that goes uses pages that the host wants: Linux's breaks that rule, too.
    broken = {name for name, count in vm.balloon.violations().items() if count}
    assert broken == {"below_target"}
    host.check()
