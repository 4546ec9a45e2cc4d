"""First steps: a host, a virtual machine, a process, and what its memory accesses meet.

Run it with: python examples/first_steps.py
"""

import numpy as np

import vmem

host = vmem.Hypervisor(memory="4GiB", cpu="skylake-sp")
vm = host.create_vm("web", memory="1GiB", mmu="nested", backing="4KiB")
process = vm.guest.spawn("app")

# Mapping memory costs nothing yet: the guest's kernel gives out frames on first touch, and so does the host.
heap = process.mmap("64MiB", name="heap")
print(f"mapped {heap.length >> 20} MiB at {heap.start:#x}; resident: {vm.resident >> 10} KiB")

# Real bytes, through the MMU.
process.write(heap.start + 5000, b"hello")
print("read back:", process.read(heap.start + 5000, 5))
machine = process.translate(np.array([heap.start + 5000, heap.start + 4096 * 100], np.uint64))
print("in the machine's memory at:", ["nowhere yet" if at == vmem.UNMAPPED else hex(at) for at in machine])

# A batch of accesses: every page of the heap once, then all of them again.
pages = np.arange(heap.start, heap.end, 4096, dtype=np.uint64)
loads = np.zeros(len(pages), np.uint8)
for name in ("first touch", "second round"):
    result = process.access(pages, loads)
    print(
        f"{name}: {result.references:,} references, {result.counters['tlb_misses']:,} TLB misses, "
        f"{result.faults['guest_page_fault']:,} guest faults, {result.exits['ept_violation']:,} VM exits, "
        f"{result.cycles / result.references:,.1f} cycles each"
    )

# The guest takes its memory back; the host does not know.
process.exit()
free = vm.guest.meminfo()
print(f"after exit: the guest has {free['MemFree'] >> 20} MiB free; resident: {vm.resident >> 20} MiB")
host.check()  # every invariant of host and guests
