"""Run by test_interrupt.py in an interpreter of its own: works until SIGINT comes, then uses what was
interrupted.

Prints "working" when the work has begun, and one line of JSON at the end.
"""

from __future__ import annotations

import json
import sys

import numpy as np

import vmem

MANY = 10**12
"""References nobody waits for."""


class Announcer:
    """A progress callback that says once that the work has begun."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, done: int) -> None:
        if done and not self._said:
            self._said = True
            print("working", flush=True)


def access(process: vmem.Process, heap: vmem.Mapping) -> None:
    """Batches of random references."""
    pages = np.random.default_rng(1).integers(0, heap.length >> 12, 10_000_000, dtype=np.uint64)
    addresses = np.uint64(heap.start) + pages * np.uint64(4096)
    kinds = np.zeros(len(addresses), np.uint8)
    announce = Announcer()
    for _ in range(MANY // len(addresses)):
        process.access(addresses, kinds, progress=announce)


def run(process: vmem.Process, heap: vmem.Mapping) -> None:
    """A recorded trace, again and again."""
    trace = vmem.Trace.open("gups")
    process.load(trace)
    announce = Announcer()
    for _ in range(MANY // trace.references):
        process.run(trace, progress=announce)


def write(process: vmem.Process, heap: vmem.Mapping) -> None:
    """Large copies, which take no progress callback."""
    data = bytes(heap.length)
    process.write(heap.start, data)
    print("working", flush=True)
    for _ in range(MANY):
        process.write(heap.start, data)


def main(work: str, mode: str) -> None:
    host = vmem.Hypervisor("1GiB")
    vm = host.create_vm("vm", memory="512MiB", mmu=mode)  # type: ignore[arg-type]
    process = vm.guest.spawn("app")
    heap = process.mmap("64MiB")
    interrupted = False
    try:
        {"access": access, "run": run, "write": write}[work](process, heap)
    except KeyboardInterrupt:
        interrupted = True
    accesses = vm.counters()["accesses"]
    process.write(heap.start, b"usable")
    host.check()
    said = process.read(heap.start, 6).decode()
    print(json.dumps({"interrupted": interrupted, "accesses": accesses, "read": said}))


if __name__ == "__main__":
    main(*sys.argv[1:])
