"""How fast memory is given out and reclaimed, and how much of the simulating machine that takes: one table.

    python bench/host_memory.py [--scale 0.25]

Rows say what was done, how fast, and the figure that is asked for. Speeds are of process time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import vmem

PAGE = 4096
MIB = 1 << 20
GIB = 1 << 30


def steady_reclaim(mode: str, victims: str) -> float:
    """One fault and one eviction for each page, no stored bytes: pages a second."""
    host = vmem.Hypervisor("256MiB", swap="1GiB", reclaim=vmem.HostReclaim(victims=victims))
    process = host.create_vm("vm", memory="768MiB", mmu=mode).guest.spawn()
    area = process.mmap("512MiB")
    sweep = vmem.batch(range(area.start, area.end, PAGE), 0)
    process.access(*sweep)
    before, began = host.stat()["swapped_in"], time.process_time()
    for _ in range(4):
        process.access(*sweep)
    return (host.stat()["swapped_in"] - before) / (time.process_time() - began)


def steady_guest_reclaim() -> float:
    """As above, by a guest's own kernel, whose swap takes pages of zeros without a write."""
    host = vmem.Hypervisor("512MiB")
    process = host.create_vm("vm", memory="256MiB", swap="1GiB").guest.spawn()
    area = process.mmap("512MiB")
    sweep = vmem.batch(range(area.start, area.end, PAGE), 1)
    process.access(*sweep)
    before, began = process_faults(host), time.process_time()
    for _ in range(4):
        process.access(*sweep)
    return (process_faults(host) - before) / (time.process_time() - began)


def process_faults(host: vmem.Hypervisor) -> int:
    """Faults that guests' kernels served."""
    return sum(vm.guest.vmstat()["pgfault"] for vm in host)


def first_touch(scale: float) -> tuple[float, float]:
    """A 64 GiB guest whose process touches every page: seconds, and the simulator's memory to it."""
    size = int(64 * GIB * scale) // (2 * MIB) * 2 * MIB
    host = vmem.Hypervisor(int(size * 1.1) // PAGE * PAGE)
    process = host.create_vm("vm", memory=size).guest.spawn()
    area = process.mmap(int(size * 0.97) // PAGE * PAGE)
    before, spent = resident_bytes(), 0.0
    for start in range(area.start, area.end, GIB):
        pages = np.arange(start, min(start + GIB, area.end), PAGE, dtype=np.uint64)
        batch = pages, np.ones(len(pages), np.uint8)
        began = time.process_time()
        process.access(*batch)
        spent += time.process_time() - began
    return spent * size / area.length, (resident_bytes() - before) / area.length


def resident_bytes() -> int:
    """Of this Python process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


def overcommitted(scale: float, burst: int) -> tuple[float, float, int]:
    """32 VMs of 1.5 times the machine's memory, half of the VMs zipf, half moving from phase to phase.

    `burst` words are accessed at each place. Accesses a second; the simulator's memory as a fraction of the
    memory touched; pages swapped out.
    """
    rng = np.random.default_rng(1)
    memory = int(64 * GIB * scale) // (2 * MIB) * 2 * MIB
    size = int(memory * 1.5 / 32) // (2 * MIB) * 2 * MIB
    before = resident_bytes()
    host = vmem.Hypervisor(memory, swap=memory)
    areas = []
    for i in range(32):
        process = host.create_vm(f"vm{i}", memory=size).guest.spawn()
        areas.append((process, process.mmap(int(size * 0.8) // PAGE * PAGE)))
    touched = 0
    for process, area in areas:
        process.access(*vmem.batch(np.arange(area.start, area.end, PAGE, dtype=np.uint64), 0))
        touched += area.length
    taken = resident_bytes() - before
    accesses, spent = 0, 0.0
    for phase in range(3):
        for i, (process, area) in enumerate(areas):
            pages = area.length // PAGE
            ranks = rng.zipf(1.2, 1 << 20) % pages if i % 2 else rng.integers(0, pages // 50, 1 << 20)
            start = area.start + phase * (area.length // 4) // PAGE * PAGE * (1 - i % 2)
            places = (start + ranks[::burst] * PAGE).astype(np.uint64)
            words = np.arange(burst, dtype=np.uint64) * 8
            batch = vmem.batch((places[:, None] + words).ravel(), 0)
            began = time.process_time()
            process.access(*batch)
            spent += time.process_time() - began
            accesses += len(batch[0])
    return accesses / spent, taken / touched, host.stat()["swapped_out"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of the 64 GiB host")
    scale = parser.parse_args().scale
    print(f"{'what':<52} {'measured':>22}   asked for")
    for mode in ("nested", "shadow"):
        for victims in ("random", "clock"):
            speed = steady_reclaim(mode, victims)
            print(f"{f'steady reclaim, {mode}, {victims}':<52} {f'{speed:,.0f} pages/s':>22}   >= 500,000")
    speed = steady_guest_reclaim()
    print(f"{'steady reclaim by a guest':<52} {f'{speed:,.0f} pages/s':>22}   >= 500,000")
    seconds, fraction = first_touch(scale)
    name = f"first touch of a {64 * scale:g} GiB guest"
    print(f"{name:<52} {f'{seconds:,.1f} s':>22}   < {12 * scale:g} s")
    print(f"{'simulator memory of the memory touched':<52} {f'{100 * fraction:.2f} %':>22}   <= 2 %")
    for burst in (1, 8):
        speed, fraction, swapped = overcommitted(scale, burst)
        print(f"32 VMs, {64 * scale:g} GiB host, 1.5x, {swapped:,} pages swapped out:")
        name = f"  {burst} word{'s' if burst > 1 else ''} at a place"
        print(f"{name:<52} {f'{speed:,.0f} accesses/s':>22}   >= 20,000,000")
    print(f"{'simulator memory of the memory touched':<52} {f'{100 * fraction:.2f} %':>22}   <= 2 %")


if __name__ == "__main__":
    main()
