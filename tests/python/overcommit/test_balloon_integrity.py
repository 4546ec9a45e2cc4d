"""Bytes stay whose they are while balloons of several VMs go up and down under load, on a host that swaps."""

from __future__ import annotations

from typing import Any

import pytest

import vmem
from vmem.ways import WAYS

from .test_guest_integrity import GUEST_MODES
from .world import PAGE, World

MIB = 1 << 20


class BalloonWorld(World):
    """Guests with a swap, and a balloon or another way to give memory back, that never rest."""

    memory = "6MiB"
    slots, stride = 300, 3

    def __init__(self, options: dict[str, Any], seed: int, way: Any = "balloon") -> None:
        if way == "balloon":
            options = {
                **options,
                "balloon": {"must_tell_host": bool(seed % 2), "deflate_on_oom": seed % 3 == 0},
            }
        super().__init__(
            {**options, "swap": "64MiB", "reclaim": way, "scan_period": "20ms"}, seed, victims="random"
        )
        self.lowest = 6 * MIB

    def host_acts(self) -> None:
        vm = self.rng.choice(self.vms)
        roll = self.rng.random()
        if roll < 0.3 and vm.balloon is not None:
            vm.balloon.target = self.rng.randrange(2 * MIB, 6 * MIB + 1)
        elif roll < 0.6:
            self.host.advance(self.rng.choice(["1ms", "20ms", "300ms"]))
        else:
            super().host_acts()
        if vm.balloon is not None:
            self.lowest = min(self.lowest, vm.balloon.actual)

    def everything_is_as_written(self) -> None:
        super().everything_is_as_written()
        for vm in self.vms:
            if vm.balloon is not None:
                assert set(vm.balloon.violations().values()) == {0}, vm.balloon.violations()
                held = vm.guest.balloon_driver.pages
                assert len(held) == len(set(held)) == vm.balloon.counters()["held"]
                assert vm.balloon.actual == vm.memory - len(held) * PAGE


@pytest.mark.parametrize("mode", GUEST_MODES)
def test_balloons_go_up_and_down_under_load(mode: str) -> None:
    """Together 108,000 operations."""
    world = BalloonWorld(GUEST_MODES[mode], seed=5)
    world.run(12_000, checks=4)
    assert world.lowest < 3 * MIB
    for vm in world.vms:
        assert vm.balloon is not None
        counters = vm.balloon.counters()
        assert counters["inflated"] > 2000 and counters["deflated"] > 1000
        assert vm.guest.vmstat()["oom_kill"] == 0
    assert world.host.stat()["swapped_in"] > 100


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("none", "balloon")])
@pytest.mark.parametrize("mode", ["nested", "unsync"])
def test_other_ways_take_nothing_that_is_used(mode: str, way: str) -> None:
    world = BalloonWorld(GUEST_MODES[mode], seed=6, way=way)
    world.run(6_000, checks=3)
    if way.startswith("hypercall"):
        assert sum(vm.free_hints()["discarded"] for vm in world.vms) > 200
    if way == "scan":
        assert sum(vm.scans()["discarded"] for vm in world.vms) > 50


@pytest.mark.slow
@pytest.mark.parametrize("mode", GUEST_MODES)
def test_balloons_for_long(mode: str) -> None:
    BalloonWorld(GUEST_MODES[mode], seed=7).run(400_000, checks=40)


def test_no_vm_ever_reads_what_another_ones_balloon_gave() -> None:
    """Canaries: a frame that a balloon gives is at once somebody else's, and reads as zeros."""
    host = vmem.Hypervisor("64MiB", seed=1)
    vms = [host.create_vm(f"vm{i}", memory="40MiB", balloon=True) for i in range(2)]
    processes = [vm.guest.spawn() for vm in vms]
    for round_ in range(6):
        giver, taker = vms[round_ % 2], vms[(round_ + 1) % 2]
        process = processes[round_ % 2]
        area = process.mmap("28MiB")
        for page in range(area.start, area.end, PAGE):
            assert process.read(page, 16) == bytes(16)
            process.write(page, bytes([round_ + 1]) * 32)
        process.munmap(area)
        assert giver.balloon is not None and taker.balloon is not None
        giver.balloon.target, taker.balloon.target = "6MiB", "40MiB"
        host.advance("2s")
        assert giver.resident < 12 * MIB
        outside = host.create_process("outside", "20MiB")
        assert all(outside.read(at, 4096) == bytes(4096) for at in range(0, 20 * MIB, PAGE))
        outside.exit()
        host.check()
