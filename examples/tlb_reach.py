"""TLB reach: how large a working set can be before random accesses miss, for each page size.

Run it with: python examples/tlb_reach.py
"""

import numpy as np

import vmem

MIB = 1 << 20
ACCESSES = 200_000
SIZES = [1, 4, 16, 64, 256, 1024, 4096]

cpu = vmem.Cpu.preset("skylake-sp")
rng = np.random.default_rng(1)

print(f"TLB misses per 1,000 random loads on {cpu.name}, nested paging")
print(f"{'working set':>12}" + "".join(f"{page:>10}" for page in ("4KiB", "2MiB", "1GiB")))
for size in SIZES:
    cells = []
    for page in ("4KiB", "2MiB", "1GiB"):
        host = vmem.Hypervisor(memory="16GiB", cpu=cpu)
        vm = host.create_vm("vm", memory="8GiB", backing=page)
        process = vm.guest.spawn()
        data = process.mmap("4GiB", page=page)
        words = rng.integers(0, size * MIB // 8, ACCESSES, dtype=np.uint64)
        addresses = words * np.uint64(8) + np.uint64(data.start)
        loads = np.zeros(ACCESSES, np.uint8)
        process.access(addresses, loads)  # warm up: faults and first fills
        again = process.access(addresses, loads)
        cells.append(1000 * again.counters["tlb_misses"] / ACCESSES)
    print(f"{size:>8} MiB" + "".join(f"{cell:>10.1f}" for cell in cells))
