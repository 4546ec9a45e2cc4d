"""A VM that stands still while its host's time passes."""

from __future__ import annotations

from typing import Any

import pytest

import vmem

MODES = ("native", "nested", "shadow", "software-tlb")


def _host(**keys: Any) -> vmem.Hypervisor:
    return vmem.Hypervisor("1GiB", **keys)


@pytest.mark.parametrize("mmu", MODES)
def test_programs_stand_still(mmu: vmem.MmuMode) -> None:
    host = _host(cpus=1)
    vms = [host.create_vm(name, memory="64MiB", vcpus=2, mmu=mmu) for name in "ab"]
    programs = [
        vm.guest.spawn(vcpu=vcpu).start(vmem.workload("zipf", size="8MiB")) for vm in vms for vcpu in range(2)
    ]
    host.run("20ms")
    assert [vm.paused for vm in vms] == [False, False]
    vms[0].paused = True
    before, times = [program.references for program in programs], vms[0].time()
    run = host.run("100ms")
    assert run.ended == "time" and run.vms["a"] == times - times
    after = [program.references for program in programs]
    assert after[:2] == before[:2] and all(b > a for a, b in zip(before[2:], after[2:], strict=True))
    assert run.vms["b"].running == pytest.approx(100e6, rel=0.1)  # the one CPU is all theirs
    vms[0].paused = False
    run = host.run("100ms")
    assert run.vms["a"].references > 0
    assert run.vms["a"].running + run.vms["a"].runnable <= 2 * 101_000_000
    host.check()


def test_time_passes_when_all_stand_still() -> None:
    host = _host()
    vm = host.create_vm("vm", memory="64MiB")
    vm.guest.spawn().start(vmem.workload("zipf", size="8MiB"))
    vm.paused = True
    began = host.now
    assert host.run("1s").ended == "time"
    host.advance("1s")
    assert host.now - began == 2 * 10**9
    assert vm.time().references == 0


def test_what_fell_due_is_done_at_the_end() -> None:
    host = _host()
    vm = host.create_vm("vm", memory="64MiB", balloon=True)
    assert vm.balloon is not None
    vm.balloon.polling_interval = 1
    host.advance("1500ms")
    last = vm.balloon.last_update
    vm.paused = True
    vm.balloon.target = "32MiB"
    host.advance("10s")
    assert (vm.balloon.actual, vm.balloon.last_update) == (64 << 20, last)
    vm.paused = False
    ended = host.now
    # 8,192 pages take their time: their cost by the model, and little else.
    least = 8192 * host.costs["inflate_page"] / host.ghz
    host.advance(int(least * 0.9))
    assert vm.balloon.actual > 32 << 20
    host.advance(int(least / 2))
    assert vm.balloon.actual == 32 << 20
    assert vm.balloon.last_update is not None and vm.balloon.last_update >= ended
    assert set(vm.balloon.violations().values()) == {0}


def test_calls_are_made_all_the_same() -> None:
    vm = _host().create_vm("vm", memory="64MiB")
    vm.paused = True
    process = vm.guest.spawn()
    heap = process.mmap("1MiB")
    process.write(heap.start, b"here")
    assert process.read(heap.start, 4) == b"here"


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_only_true_and_false(value: object) -> None:
    vm = _host().create_vm("vm", memory="64MiB")
    with pytest.raises(vmem.ConfigError, match="accepted are True and False"):
        vm.paused = value  # type: ignore[assignment]
