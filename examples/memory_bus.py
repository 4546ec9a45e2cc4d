"""A discrete-event simulator of processors on one memory bus, with vmem as their MMUs.

Each processor works, makes a reference, and waits until memory has answered: the table entries that the walk
read, one after the other, and the data. The bus serves one request at a time, first come, first served. So a
processor's page walks take time from the others, which no cost model of a single processor shows.

Run it with: python examples/memory_bus.py
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np

import vmem

BUS_NS, WORK_NS = 20, 100  # one request; between two references
PAGE, MIB = 4096, 1 << 20
Waits = Generator[int, None, None]
"""A process of the simulation: yields the times at which it wants to go on."""


class EventLoop:
    """Processes in the order of their times; those of one time in the order of their asking."""

    def __init__(self) -> None:
        self.now = 0
        self._queue: list[tuple[int, int, Waits]] = []
        self._asked = 0

    def at(self, time: int, process: Waits) -> None:
        heapq.heappush(self._queue, (time, self._asked, process))
        self._asked += 1

    def run(self) -> None:
        while self._queue:
            self.now, _, process = heapq.heappop(self._queue)
            if (until := next(process, None)) is not None:
                self.at(until, process)


@dataclass
class Bus:
    free_at: int = 0
    requests: int = 0
    waited: int = 0

    def request(self, now: int) -> int:
        """When a request that is made now is answered."""
        begins = max(now, self.free_at)
        self.requests += 1
        self.waited += begins - now
        self.free_at = begins + BUS_NS
        return self.free_at


class Memory:
    """Physical memory with an operating system of ten lines: a page gets a frame when it is first touched."""

    def __init__(self, size: int) -> None:
        self.physical = vmem.PhysicalMemory(size)
        self._next = PAGE  # frame 0 stays empty

    def new_frame(self) -> int:
        self._next += PAGE
        return self._next - PAGE

    def map(self, root: int, va: int) -> None:
        table = root
        for level in (3, 2, 1, 0):
            at = table + (va >> 12 + 9 * level & 511) * 8
            entry = int.from_bytes(self.physical.read(at, 8), "little")
            if not entry & 1:
                entry = self.new_frame() | 7
                self.physical.write(at, entry.to_bytes(8, "little"))
            table = entry & ~0xFFF


@dataclass
class Processor:
    loop: EventLoop
    bus: Bus
    memory: Memory
    addresses: list[int]
    walk_requests: int = 0
    ended: int = 0
    mmu: vmem.Mmu = field(init=False)

    def __post_init__(self) -> None:
        self.mmu = vmem.Mmu(self.memory.physical, cpu="skylake-sp")
        self._root = self.memory.new_frame()
        self.mmu.set_state(cr3=self._root)

    def run(self) -> Waits:
        for address in self.addresses:
            yield self.loop.now + WORK_NS
            for _ in range(self._translate(address) + 1):  # the entries of the walk, and the data
                yield self.bus.request(self.loop.now)
        self.ended = self.loop.now

    def _translate(self, address: int) -> int:
        """Makes the access; how many table entries it read."""
        before = self.mmu.counters()["walk_refs"]
        while not self.mmu.access(address, "load").ok:
            self.memory.map(self._root, address)
        read = self.mmu.counters()["walk_refs"] - before
        self.walk_requests += read
        return read


def simulate(working_sets: list[int], references: int = 2000) -> tuple[EventLoop, Bus, list[Processor]]:
    """Processors, each with random loads in so many bytes of its own, on one bus."""
    loop, bus, memory = EventLoop(), Bus(), Memory(256 * MIB)
    random = np.random.default_rng(1)
    processors = [
        Processor(
            loop, bus, memory, [int(at) for at in random.integers(1 << 30, (1 << 30) + size, references)]
        )
        for size in working_sets
    ]
    for processor in processors:
        loop.at(0, processor.run())
    loop.run()
    return loop, bus, processors


def lines() -> Iterator[str]:
    yield f"{'working sets':>24} {'walk reads':>11} {'bus busy':>9} {'wait/request':>13} {'ns/reference':>13}"
    for sizes in ([MIB], [MIB] * 4, [64 * MIB], [64 * MIB] + [MIB] * 3, [32 * MIB] * 4):
        loop, bus, processors = simulate(sizes)
        name = ", ".join(f"{size // MIB}" for size in sizes) + " MiB"
        walks = sum(processor.walk_requests for processor in processors)
        each = (
            sum(processor.ended for processor in processors) / len(processors) / len(processors[0].addresses)
        )
        busy = bus.requests * BUS_NS / loop.now
        yield f"{name:>24} {walks:11,} {busy:9.0%} {bus.waited / bus.requests:10.1f} ns {each:10.1f} ns"


if __name__ == "__main__":
    print("\n".join(lines()))
