"""How fast balloons go up and down, and free page reporting takes blocks: one table.

    python bench/balloon.py

Speeds are of process time. The guest's kernel allocates each page and the device takes its frame; touched
memory has frames to take, untouched memory has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import vmem

PAGE = 4096
GIB = 1 << 30


def guest(touched: bool, **options: object) -> tuple[vmem.Hypervisor, vmem.Vm]:
    """A guest of 4 GiB, with 3.5 GiB free that were used before, or not."""
    host = vmem.Hypervisor("5GiB")
    vm = host.create_vm("vm", memory="4GiB", **options)
    if touched:
        process = vm.guest.spawn()
        area = process.mmap("3584MiB")
        process.access(*vmem.batch(np.arange(area.start, area.end, PAGE, dtype=np.uint64), 1))
        process.munmap(area)
    return host, vm


def move(host: vmem.Hypervisor, vm: vmem.Vm, target: int) -> float:
    """Pages a second."""
    assert vm.balloon is not None
    before, began = vm.balloon.actual, time.process_time()
    vm.balloon.target = target
    while vm.balloon.actual != target:
        host.advance("100ms")
    return abs(vm.balloon.actual - before) / PAGE / (time.process_time() - began)


def reporting() -> float:
    """GiB a second."""
    host, vm = guest(touched=True, reclaim="reporting")
    assert vm.balloon is not None
    began = time.process_time()
    before = vm.balloon.counters()["reported"]
    for _ in range(200):
        host.advance("2s")
    return (vm.balloon.counters()["reported"] - before) * PAGE / GIB / (time.process_time() - began)


def row(what: str, measure: Callable[[], float], unit: str, asked: str) -> None:
    """Best of three."""
    speed = max(measure() for _ in range(3))
    print(f"{what:<44} {f'{speed:,.0f} {unit}':>24}   {asked}")


def main() -> None:
    print(f"{'what':<44} {'measured':>24}   asked for")
    for touched in (False, True):
        kind = "touched" if touched else "untouched"
        speeds = []
        for _ in range(3):
            host, vm = guest(touched, balloon=True)
            speeds.append((move(host, vm, GIB // 2), move(host, vm, 4 * GIB)))
        for index, what in enumerate(("inflate", "deflate")):
            best = max(speed[index] for speed in speeds)
            print(f"{f'{what}, {kind} memory':<44} {f'{best:,.0f} pages/s':>24}   >= 3,000,000")
    row("free page reporting", reporting, "GiB/s", ">= 50")


if __name__ == "__main__":
    main()
