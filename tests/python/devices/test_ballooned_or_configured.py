"""A ballooned VM against one configured with as little memory (Waldspurger, OSDI 2002, figure 2), simulated.

There dbench in a VM of 256 MiB, ballooned to 128 MiB, is 4.4 % slower than in a VM configured with 128 MiB,
and 1.4 % slower at 224 MiB, because the guest's kernel has sized its data for 256 MiB. Here that is two
things: the page array, and the watermarks, which say how much kswapd keeps free.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest

import vmem

MIB = 1 << 20
LARGE = 256 * MIB
PAGE, PAGE_ENTRY = 4096, 32
"""Bytes of a frame, and of its entry in the page array (docs/reference/guest-memory.md)."""
SIZES = (128 * MIB, 176 * MIB, 224 * MIB)


def boot(memory: int, target: int) -> tuple[vmem.Hypervisor, vmem.Vm]:
    """A guest that keeps `target` bytes of its memory, on a host with plenty."""
    host = vmem.Hypervisor("1GiB")
    vm = host.create_vm("a", memory=memory, balloon=True, swap="256MiB")
    vm.guest.swap_detects_zeros = False
    assert vm.balloon is not None
    vm.balloon.target = target
    host.advance("10s")
    assert vm.balloon.actual == target
    return host, vm


def kept_free(vm: vmem.Vm) -> int:
    """Bytes that kswapd keeps free: it wakes at the low watermarks, and reclaims up to the high ones."""
    zones = vm.guest.zoneinfo().values()
    return sum((zone["low"] + zone["high"]) // 2 for zone in zones) * PAGE


def usable(memory: int, target: int) -> int:
    """Bytes that programs can fill."""
    vm = boot(memory, target)[1]
    return vm.guest.meminfo()["MemTotal"] - kept_free(vm)


@dataclass(frozen=True)
class Throughput:
    rate: float
    """References in a second."""
    refaults: int
    free: int


@cache
def throughput(memory: int, target: int) -> Throughput:
    """Of a program that keeps swapping: 300 MiB, some of it popular."""
    host, vm = boot(memory, target)
    vm.guest.spawn("db").start(
        vmem.workload("zipf", size="300MiB", skew=0.8, writes=0.3, references=10**9, compute="25us"), seed=7
    )
    host.run("1h", references=150_000)
    before, began = vm.guest.vmstat(), host.now
    host.run("1h", references=450_000)
    host.check()
    faults = vm.guest.vmstat()["pgmajfault"] - before["pgmajfault"]
    return Throughput(300_000 / (host.now - began) * 1e9, faults, vm.guest.meminfo()["MemFree"])


def loss(size: int) -> float:
    return 1 - throughput(LARGE, size).rate / throughput(size, size).rate


def test_the_loss_is_small_and_shrinks_with_the_balloon() -> None:
    losses = [loss(size) for size in SIZES]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(0.044, abs=0.005)
    assert losses[-1] == pytest.approx(0.014, abs=0.005)


@pytest.mark.parametrize("size", SIZES)
def test_its_kernel_has_sized_its_data_for_all_of_its_memory(size: int) -> None:
    ballooned, configured = boot(LARGE, size)[1], boot(size, size)[1]
    entries = (LARGE - size) // PAGE * PAGE_ENTRY
    total = ballooned.guest.meminfo()["MemTotal"]
    assert configured.guest.meminfo()["MemTotal"] - total == entries
    # The watermarks are those of the same VM before the balloon took anything.
    assert kept_free(ballooned) == kept_free(boot(LARGE, LARGE)[1]) > kept_free(configured)


@pytest.mark.parametrize("size", SIZES)
def test_nothing_else_is_lost(size: int) -> None:
    """A VM configured with so much less that its programs can fill as much does as much work."""
    wanted = usable(LARGE, size)
    low, high = size // 2 // PAGE, size // PAGE
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if usable(middle * PAGE, middle * PAGE) <= wanted else (low, middle - 1)
    equal, ballooned = throughput(low * PAGE, low * PAGE), throughput(LARGE, size)
    assert ballooned.rate == pytest.approx(equal.rate, rel=0.003)
    assert ballooned.refaults == pytest.approx(equal.refaults, rel=0.02)
    assert ballooned.refaults > 1.05 * throughput(size, size).refaults


def test_while_it_works_as_much_is_free_as_its_watermarks_say() -> None:
    for memory in (LARGE, SIZES[0]):
        zones = boot(memory, SIZES[0])[1].guest.zoneinfo().values()
        low, high = (sum(zone[mark] for zone in zones) * PAGE for mark in ("low", "high"))
        assert low * 0.9 <= throughput(memory, SIZES[0]).free <= high * 1.1
