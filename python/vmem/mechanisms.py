"""The ways to get memory back from a guest, each on the same guest and load: `vmem compare --mechanisms`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vmem import measures
from vmem.errors import OutOfMemory
from vmem.guest import Mapping, batch
from vmem.hypervisor import Backing, Hypervisor
from vmem.ways import WAYS, Reclaim

_PAGE = 4096
_GIB = 1 << 30
_STEP = 100_000_000
"""Nanoseconds between two looks at whether a balloon has arrived."""
_PATIENCE = 60
"""Simulated seconds, after which a balloon will not get further."""
_SETTLE = "12s"
"""What free page reporting and a scan need to come by at least once, and to be done."""

COMPARED: tuple[Reclaim, ...] = WAYS


@dataclass(frozen=True)
class Load:
    """What the guest's memory is used for when the host wants it back, as shares of the guest's memory."""

    busy: float = 0.15
    """Touched and kept by a process."""
    cached: float = 0.15
    """A file that was read."""
    scattered: float = 0.1
    """Touched; every second page was given back, so that no large block of it is free."""
    freed: float = 0.4
    """Touched, and given back as a whole."""


class Phase(NamedTuple):
    """What one step cost."""

    bytes: int
    """Of machine memory: got back, or given again."""
    elapsed: int
    """Simulated nanoseconds until it was done."""
    cycles: int
    """Of the guest's vCPUs, exits included."""
    exits: int
    host_time: int
    """Nanoseconds of the host's own CPUs."""
    khz: int
    """Of the processors, whose cycles these are."""

    @property
    def seconds_per_gib(self) -> float | None:
        """vCPU and host CPU time; None if nothing was moved."""
        if not self.bytes:
            return None
        return (self.cycles / (self.khz * 1000) + self.host_time / 1e9) * _GIB / self.bytes


class Outcome(NamedTuple):
    """One way on one guest."""

    way: Reclaim
    backing: Backing
    wanted: int
    """Bytes: all that no process holds."""
    reclaim: Phase
    given_back: Phase
    install: Phase
    left_free: int
    """Bytes that the guest has free, and the host could not get."""
    left_cached: int
    left_used: int
    huge_pages_lost: int
    """Pages of 2 MiB in the second stage that are not there any more, though the guest's memory is there."""
    swapped_out: int
    """Pages that the host wrote to its swap."""


def compare(
    memory: int,
    *,
    backing: Backing = "4KiB",
    ghz: float = 3.0,
    load: Load | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Outcome]:
    """Every way in turn. `progress` is told how many are done."""
    outcomes = []
    for done, way in enumerate(COMPARED):
        progress(done)
        outcomes.append(_Trial(way, memory, backing, ghz, load or Load()).run())
    progress(len(COMPARED))
    return outcomes


class _Trial:
    """One way: a guest that used its memory, a host that wants it back, and a guest that wants it again."""

    def __init__(self, way: Reclaim, memory: int, backing: Backing, ghz: float, load: Load) -> None:
        self._way, self._backing, self._load = way, backing, load
        self._memory = memory // (8 << 20) * (8 << 20)
        self._khz = round(ghz * 1e6)
        self._host = Hypervisor(self._memory * 5 // 4, swap=2 * self._memory, ghz=ghz, seed=1)
        self._vm = self._host.create_vm(
            "guest",
            memory=self._memory,
            backing=backing,
            disk=self._share(load.cached) + (64 << 20),
            reclaim=way,
            scan_period="5s",
        )
        self._process = self._vm.guest.spawn("load")

    def _share(self, share: float) -> int:
        return int(self._memory * share) // (2 << 20) * (2 << 20)

    def run(self) -> Outcome:
        """Uses memory, gives it back, and wants it again."""
        load, vm, process = self._load, self._vm, self._process
        self._touch(process.mmap(self._share(load.busy), name="busy"))
        self._read_file(self._share(load.cached))
        scattered = process.mmap(self._share(load.scattered), name="scattered")
        freed = process.mmap(self._share(load.freed), name="freed")
        self._touch(scattered)
        self._touch(freed)
        busy = self._share(load.busy) + vm.guest.meminfo()["PageTables"]
        resident, huge = vm.resident, self._huge_pages()
        wanted = resident - busy

        before = self._now()
        for start in range(scattered.start, scattered.end, 2 * _PAGE):
            process.munmap(start, _PAGE)
        process.munmap(freed)
        self._get_back(wanted)
        reclaim = self._since(before, resident - vm.resident)
        info = vm.guest.meminfo()
        free = vm.guest.free
        used = info["MemTotal"] - free - info["Cached"]
        left_free = max(0, vm.resident - used - info["Cached"])
        left_huge, left_resident = self._huge_pages(), vm.resident

        before = self._now()
        if vm.balloon is not None and self._way == "balloon":
            vm.balloon.target = self._memory
            self._wait_for_balloon()
        given_back = self._since(before, reclaim.bytes)

        again = process.mmap(self._share(load.freed), name="again")
        before = self._now()
        self._touch(again)
        install = self._since(before, again.length)
        return Outcome(
            self._way,
            self._backing,
            wanted,
            reclaim,
            given_back,
            install,
            left_free,
            info["Cached"],
            used,
            max(0, huge - left_huge - (resident - left_resident) // (2 << 20)),
            self._host.stat()["swapped_out"],
        )

    def _touch(self, mapping: Mapping) -> None:
        self._process.access(*batch(np.arange(mapping.start, mapping.end, _PAGE, dtype=np.uint64), 1))

    def _read_file(self, size: int) -> None:
        file = self._vm.guest.create_file("data", size)
        for offset in range(0, size, 1 << 20):
            file.read(offset, min(1 << 20, size - offset))

    def _huge_pages(self) -> int:
        return sum(page.frames // 512 for page in self._vm.second_stage())

    def _get_back(self, wanted: int) -> None:
        """As the host does when it needs so much for something else."""
        vm, host = self._vm, self._host
        if self._way == "balloon" and vm.balloon is not None:
            vm.balloon.target = max(self._memory - wanted, _PAGE)
            self._wait_for_balloon()
        elif self._way == "swap":
            need = host.create_process("need")
            free = host.meminfo()["free"]
            try:
                need.resize(free + wanted)
            except OutOfMemory:
                need.resize(free)
            need.exit()
        else:
            host.advance(_SETTLE)

    def _wait_for_balloon(self) -> None:
        """Until the target is reached, or nothing has moved for two seconds."""
        balloon, host = self._vm.balloon, self._host
        assert balloon is not None
        still, last = 0, -1
        deadline = host.now + _PATIENCE * 10**9
        while balloon.actual != balloon.target and host.now < deadline and still < 20:
            host.advance(_STEP)
            still = still + 1 if balloon.actual == last else 0
            last = balloon.actual

    def _now(self) -> Phase:
        counters = self._vm.counters()
        # A page takes the same path to the swap as it takes back.
        swapping = self._host.stat()["swapped_out"] * self._host.costs["host_swap_in"] * 10**6 // self._khz
        return Phase(
            0,
            self._host.now,
            counters["cycles"],
            measures.exits(counters),
            self._vm.scans()["host_ns"] + swapping,
            self._khz,
        )

    def _since(self, before: Phase, moved: int) -> Phase:
        now = self._now()
        return Phase(
            max(0, moved),
            now.elapsed - before.elapsed,
            now.cycles - before.cycles,
            now.exits - before.exits,
            now.host_time - before.host_time,
            self._khz,
        )
