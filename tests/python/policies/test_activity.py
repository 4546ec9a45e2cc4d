"""Sampled activity: what the hypervisor can see of a guest's use of memory, and the estimate made of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

import vmem
from vmem.policies.esx_activity import ActivityEstimate

MIB = 1 << 20
MODES: list[dict[str, Any]] = [
    {"mmu": "nested"},
    {"mmu": "nested", "cpu": "zen3"},
    *({"mmu": "shadow", "sync": sync} for sync in ("trace", "unsync", "vtlb")),
]


def touch(process: vmem.Process, area: vmem.Mapping, length: int) -> None:
    process.access(*vmem.batch(range(area.start, area.start + length, 4096), 0))


@pytest.mark.parametrize("options", MODES, ids=lambda o: "-".join(o.values()))
def test_a_sample_of_all_pages_counts_those_touched(options: dict[str, Any]) -> None:
    host = vmem.Hypervisor("128MiB")
    vm = host.create_vm("vm", memory="32MiB", **options)
    process = vm.guest.spawn()
    area = process.mmap("16MiB")
    touch(process, area, 16 * MIB)
    assert vm.sampled_activity == (0, 0)
    assert vm.sample_activity(10**6) == (0, 0)
    assert vm.sampled_activity == (0, 8192)
    touch(process, area, 4 * MIB)
    touched, pages = vm.sampled_activity
    assert pages == 8192 and 1024 <= touched < 1100  # the guest's own tables besides
    assert vm.sample_activity(10**6) == (touched, pages)
    assert vm.sampled_activity == (0, 8192)
    host.check()


def test_a_page_that_comes_back_counts_as_touched() -> None:
    host = vmem.Hypervisor("64MiB", swap="64MiB")
    vm = host.create_vm("vm", memory="32MiB")
    process = vm.guest.spawn()
    area = process.mmap("1MiB")
    touch(process, area, MIB)
    for page in vm.second_stage():
        vm.swap_out(page.gfn * 4096)
    vm.sample_activity(10**6)
    assert vm.sampled_activity[0] == 0
    touch(process, area, MIB // 2)
    assert 128 <= vm.sampled_activity[0] < 150
    host.check()


def test_small_samples_are_fair_and_follow_the_seed() -> None:
    def shares(seed: int) -> list[float]:
        host = vmem.Hypervisor("128MiB", seed=seed)
        vm = host.create_vm("vm", memory="64MiB")
        process = vm.guest.spawn()
        area = process.mmap("16MiB")
        found = []
        for _ in range(60):
            vm.sample_activity(100)
            touch(process, area, 16 * MIB)
            found.append(vm.sampled_activity[0] / vm.sampled_activity[1])
        return found

    one = shares(1)
    assert one == shares(1) != shares(2)
    # 6,000 draws of p = 0.25 have a standard deviation of 0.0056.
    assert sum(one) / len(one) == pytest.approx(0.25, abs=0.02)


def test_vms_whose_accesses_leave_no_trace_are_refused() -> None:
    host = vmem.Hypervisor("128MiB")
    for mmu in ("native", "software-tlb"):
        vm = host.create_vm(mmu, memory="32MiB", mmu=mmu)  # type: ignore[arg-type]
        with pytest.raises(vmem.ConfigError, match="activity"):
            vm.sample_activity(10)
    with pytest.raises(vmem.ConfigError, match="pages"):
        host.create_vm("vm", memory="32MiB").sample_activity(0)


def test_a_new_vm_does_not_inherit_a_sample() -> None:
    host = vmem.Hypervisor("128MiB")
    vm = host.create_vm("vm", memory="32MiB")
    vm.sample_activity(10)
    host.destroy_vm(vm)
    assert host.create_vm("vm", memory="32MiB").sampled_activity == (0, 0)


def test_the_estimate_rises_at_once_and_falls_slowly() -> None:
    """The paper's toucher (section 5.3, figure 7): 50, then 200, then 50 of 256 MB, 30 s a sample."""
    host = vmem.Hypervisor("512MiB")
    vm = host.create_vm("vm", memory="256MiB")
    process = vm.guest.spawn()
    sizes = [["0s", "200MiB", "50MiB"], ["330s", "200MiB", "200MiB"], ["630s", "200MiB", "50MiB"]]
    process.start(vmem.workload("demand", curve=sizes, compute="100us"))
    estimate = ActivityEstimate(slow=0.125, fast=0.5)
    course = []
    host.run("30s")  # it touches all of its memory first
    vm.sample_activity(100)
    for _ in range(30):
        host.run("30s")
        touched, pages = vm.sample_activity(100)
        estimate.add(touched / pages)
        course.append(estimate.value(None) * 256)
    steady, risen, after = course[9], course[10:20], course[20:]
    assert 40 < steady < 90
    assert risen[1] > steady + 0.6 * (200 - steady)  # most of the way within two periods
    assert max(risen) == pytest.approx(200, rel=0.15)
    assert after[1] > 100  # still far above
    assert after[9] < 100
    assert all(later <= earlier for earlier, later in pairwise(after) if earlier > 100)


def test_a_running_sample_lifts_the_estimate_before_it_is_complete() -> None:
    estimate = ActivityEstimate(slow=0.125, fast=0.5)
    assert estimate.value(0.1) == 1.0  # nothing is known: nothing is taxed
    estimate.add(0.2)
    assert estimate.value(None) == estimate.value(0.0) == 0.2
    assert estimate.value(0.8) == pytest.approx(0.5)
    for _ in range(4):
        estimate.add(0.0)
    assert estimate.value(None) == pytest.approx(0.2 * 0.875**4)
