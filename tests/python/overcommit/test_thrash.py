"""A guest whose processes use more than it has: where the cliff is, and how good its choice of victims."""

from __future__ import annotations

import heapq
from collections import OrderedDict

import numpy as np
import numpy.typing as npt
import pytest

import vmem

PAGE = 4096
MEMORY = 32 << 20


def _vm() -> vmem.Vm:
    return vmem.Hypervisor("128MiB", seed=1).create_vm("vm", memory=MEMORY, swap="256MiB")


def _evictions(vm: vmem.Vm) -> int:
    stat = vm.guest.vmstat()
    return stat["pgsteal_kswapd"] + stat["pgsteal_direct"]


def _room(vm: vmem.Vm) -> int:
    """Pages that processes can have while every zone keeps its low watermark."""
    return vm.guest.free // PAGE - sum(
        zone["low"] + zone["protection"][1] for zone in vm.guest.zoneinfo().values()
    )


def _sweeps(pages: int) -> tuple[int, int]:
    """(major faults, pages) of three sweeps over so many pages, after a first one."""
    vm = _vm()
    process = vm.guest.spawn()
    area = process.mmap(pages * PAGE)
    once = np.arange(area.start, area.end, PAGE, dtype=np.uint64)
    for at in once.tolist():
        process.write(at, b"not zero")
    before = vm.guest.vmstat()["pgmajfault"]
    for _ in range(3):
        process.access(once, np.ones(pages, np.uint8))
    return vm.guest.vmstat()["pgmajfault"] - before, 3 * pages


def test_a_working_set_falls_off_the_cliff_where_memory_ends() -> None:
    room = _room(_vm())
    assert 6000 < room < MEMORY // PAGE
    tables = room // 512 + 4
    for share in (0.5, 0.8, 0.95):
        assert _sweeps(int((room - tables) * share))[0] == 0, share
    faults, accesses = _sweeps(int(room * 1.05))
    assert 0.3 < faults / accesses <= 1
    faults, accesses = _sweeps(int(room * 1.3))
    assert 0.9 < faults / accesses <= 1, "a sweep over more than there is finds nothing of what it needs"


def _fifo(pages: list[int], frames: int) -> int:
    resident: OrderedDict[int, None] = OrderedDict()
    evictions = 0
    for page in pages:
        if page in resident:
            continue
        if len(resident) == frames:
            resident.popitem(last=False)
            evictions += 1
        resident[page] = None
    return evictions


def _opt(pages: list[int], frames: int) -> int:
    """Belady's: evicts the page that is needed last."""
    following = [len(pages)] * len(pages)
    seen: dict[int, int] = {}
    for i in range(len(pages) - 1, -1, -1):
        following[i] = seen.get(pages[i], len(pages))
        seen[pages[i]] = i
    needed: dict[int, int] = {}
    heap: list[tuple[int, int]] = []
    evictions = 0
    for i, page in enumerate(pages):
        if page not in needed and len(needed) == frames:
            while True:
                when, victim = heapq.heappop(heap)
                if needed.get(victim) == -when:
                    break
            del needed[victim]
            evictions += 1
        needed[page] = following[i]
        heapq.heappush(heap, (-following[i], page))
    return evictions


def _hot_and_cold(rng: np.random.Generator, pages: int, count: int) -> npt.NDArray[np.int64]:
    """Nine of ten references go to a third of the pages."""
    hot = rng.integers(0, pages // 3, count)
    cold = rng.integers(0, pages, count)
    return np.where(rng.random(count) < 0.9, hot, cold)


def _zipf(rng: np.random.Generator, pages: int, count: int) -> npt.NDArray[np.int64]:
    weights = 1 / np.arange(1, pages + 1) ** 0.8
    return rng.permutation(pages)[rng.choice(pages, count, p=weights / weights.sum())]


@pytest.mark.parametrize("draw", [_hot_and_cold, _zipf])
def test_evictions_lie_between_opt_and_fifo(draw: object) -> None:
    """On the same string of pages, with the frames that the process had: most for OPT, least for FIFO."""
    assert callable(draw)
    vm = _vm()
    process = vm.guest.spawn()
    pages = 2 * MEMORY // PAGE
    area = process.mmap(pages * PAGE)
    string = draw(np.random.default_rng(5), pages, 300_000)
    addresses = (area.start + string * PAGE).astype(np.uint64)
    resident = []
    for part in np.array_split(addresses, 300):
        process.access(part, np.ones(len(part), np.uint8))
        if _evictions(vm):
            resident.append(process.resident // PAGE)
    evictions = _evictions(vm)
    best, worst = _opt(string.tolist(), max(resident)), _fifo(string.tolist(), min(resident))
    assert best < evictions < worst, (best, evictions, worst)
    assert evictions < best + 0.9 * (worst - best), "reclaim knows something about what is used"
