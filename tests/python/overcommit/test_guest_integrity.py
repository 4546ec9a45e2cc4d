"""Bytes come back as written while guests swap, fork, copy and split large pages, and their host swaps."""

from __future__ import annotations

from typing import Any

import pytest

import vmem

from .world import MODES, PAGE, World

GUEST_MODES: dict[str, dict[str, Any]] = {
    **MODES,
    "software TLB": {"mmu": "software-tlb"},
    "software TLB, two levels": {"mmu": "software-tlb", "software_tlb": 1024},
    "direct faults": {"mmu": "shadow", "sync": "unsync", "direct_faults": True},
}


class PressedWorld(World):
    """Guests that have less memory than their processes use, and a swap disk; large pages; madvise."""

    memory = "5MiB"
    slots, stride = 400, 3
    page = "2MiB"

    def __init__(self, options: dict[str, Any], seed: int, victims: Any = "random") -> None:
        super().__init__({**options, "swap": "64MiB"}, seed, victims)

    def guest_acts(self) -> None:
        if self.rng.random() < 0.5:
            super().guest_acts()
            return
        _, process, start, owner = self.rng.choice(self.processes)
        page, count = self.rng.randrange(self.slots), self.rng.randrange(1, 8)
        count = min(count, self.slots - page)
        at, length = start + page * self.step, count * self.step
        match self.rng.randrange(4):
            case 0:
                process.madvise(at, "dontneed", length)
                for gone in range(page, page + count):
                    owner.written.pop(gone, None)
            case 1:
                process.madvise(at, self.rng.choice(["hugepage", "nohugepage"]), length)
            case 2:
                process.mprotect(at, "r", length)
                assert process.read(at + 100, 16) == owner.expected(page)
                process.mprotect(at, "rw", length)
            case _:
                self.host.advance("5ms")


def _assert_everything_happened(world: PressedWorld) -> None:
    stats = [vm.guest.vmstat() for vm in world.vms]
    for name in ("pswpin", "pswpout", "pgsteal_kswapd", "thp_fault_alloc", "thp_split_page"):
        assert all(stat[name] > 0 for stat in stats), (name, stats)
    assert all(stat["oom_kill"] == 0 for stat in stats)
    assert world.host.stat()["swapped_in"] > 100


@pytest.mark.parametrize("mode", GUEST_MODES)
def test_twenty_five_thousand_operations_in_each_mode(mode: str) -> None:
    """Together more than 200,000."""
    world = PressedWorld(GUEST_MODES[mode], seed=3)
    world.run(25_000, checks=5)
    _assert_everything_happened(world)


@pytest.mark.slow
@pytest.mark.parametrize("mode", GUEST_MODES)
def test_more_than_a_million_operations_in_each_mode(mode: str) -> None:
    """Together more than 10 million."""
    world = PressedWorld(GUEST_MODES[mode], seed=4, victims="clock")
    world.run(1_150_000, checks=50)
    _assert_everything_happened(world)


def test_what_a_dead_process_had_in_swap_is_nobody_elses() -> None:
    """Canaries: slots and frames are used again, and never show what they held."""
    host = vmem.Hypervisor("64MiB", seed=1)
    vm = host.create_vm("vm", memory="4MiB", swap="16MiB")
    booted = vm.guest.free
    for generation in range(6):
        process = vm.guest.spawn(f"p{generation}")
        area = process.mmap("8MiB")
        for at in range(area.start, area.end, PAGE):
            assert process.read(at, 8) == bytes(8)
            process.write(at, bytes([generation + 1]) * PAGE)
        assert process.swapped > 1 << 20
        for at in range(area.start, area.end, PAGE * 7):
            assert process.read(at, PAGE) == bytes([generation + 1]) * PAGE
        host.check()
        process.exit()
    assert vm.guest.vmstat()["pgsteal_direct"] > 100
    info = vm.guest.meminfo()
    assert info["SwapFree"] == info["SwapTotal"]
    assert info["SwapCached"] == 0
    assert vm.guest.free == booted
