"""Hosts with VMs, processes and programs of the host that remember what they wrote."""

from __future__ import annotations

import random
from typing import Any

import vmem

PAGE = 4096
MODES: dict[str, dict[str, Any]] = {
    "nested": {"mmu": "nested"},
    "nested, 2 MiB backing": {"mmu": "nested", "backing": "2MiB"},
    "nested, NPT": {"mmu": "nested", "cpu": "zen3"},
    "trace": {"mmu": "shadow", "sync": "trace"},
    "unsync": {"mmu": "shadow", "sync": "unsync"},
    "vtlb": {"mmu": "shadow", "sync": "vtlb"},
}


class Owner:
    """A process, or a program of the host, and what it wrote: by page, 16 bytes that only it writes."""

    def __init__(self, tag: int) -> None:
        self.tag = tag
        self.written: dict[int, bytes] = {}

    def stamp(self, page: int, rng: random.Random) -> bytes:
        value = bytes([self.tag]) + page.to_bytes(2, "big") + rng.randbytes(13)
        if rng.random() < 0.2:
            value = b"the same for all"  # what sharing finds
        self.written[page] = value
        return value

    def expected(self, page: int) -> bytes:
        return self.written.get(page, bytes(16))


class World:
    """A host of 8 MiB, two VMs of 8 MiB each in one mode, some processes, and a program of the host.

    A process uses `slots` pages, one in `stride`: together several times what the host can hold. `page` is
    the largest page of its mappings.
    """

    memory = "8MiB"
    slots, stride = 96, 4
    page = "4KiB"

    def __init__(self, options: dict[str, Any], seed: int, victims: Any) -> None:
        self.step = self.stride * PAGE
        self.rng = random.Random(seed)
        self.host = vmem.Hypervisor(
            "8MiB", swap="64MiB", seed=seed, reclaim=vmem.HostReclaim(victims=victims)
        )
        self.vms = [self.host.create_vm(f"vm{i}", memory=self.memory, **options) for i in range(2)]
        self.program, self.own = self.host.create_process("program", 16 * PAGE), Owner(255)
        self.processes: list[tuple[vmem.Vm, vmem.Process, int, Owner]] = []
        self.tags = 0
        for vm in self.vms:
            for _ in range(2):
                process = vm.guest.spawn()
                self.adopt(vm, process, self.area(process), Owner(self.tag()))

    def area(self, process: vmem.Process) -> int:
        return process.mmap(self.slots * self.step, page=self.page).start

    def tag(self) -> int:
        self.tags = self.tags % 250 + 1
        return self.tags

    def adopt(self, vm: vmem.Vm, process: vmem.Process, start: int, owner: Owner) -> None:
        self.processes.append((vm, process, start, owner))

    def write_or_read(self) -> None:
        _, process, start, owner = self.rng.choice(self.processes)
        page = self.rng.randrange(self.slots)
        at = start + page * self.step + 100
        if self.rng.random() < 0.5:
            process.write(at, owner.stamp(page, self.rng))
        else:
            assert process.read(at, 16) == owner.expected(page)

    def host_acts(self) -> None:
        vm = self.rng.choice(self.vms)
        at = self.rng.randrange(vm.memory // PAGE) * PAGE
        match self.rng.randrange(8):
            case 0 | 1 | 2:
                for _ in range(20):
                    vm.swap_out(self.rng.randrange(vm.memory // PAGE) * PAGE)
            case 3:
                vm.split(at)
            case 4:
                vm.collapse(at)
            case 5:
                vm.migrate(at)
            case 6:
                page = self.rng.randrange(self.program.memory // PAGE)
                assert self.program.read(page * PAGE, 16) == self.own.expected(page)
                self.program.write(page * PAGE, self.own.stamp(page, self.rng))
            case _:
                self.resize_program()

    def resize_program(self) -> None:
        pages = self.rng.randrange(1, 1500)
        self.program.resize(pages * PAGE)
        self.own.written = {page: value for page, value in self.own.written.items() if page < pages}

    def guest_acts(self) -> None:
        vm, process, start, owner = self.rng.choice(self.processes)
        if len(self.processes) < 8 and self.rng.random() < 0.5:
            child = Owner(self.tag())
            child.written = dict(owner.written)
            self.adopt(vm, process.fork(), start, child)
            return
        siblings = [p for p in self.processes if p[0] is vm]
        if len(siblings) > 2:
            process.exit()
            self.processes.remove((vm, process, start, owner))
            return
        page = self.rng.randrange(self.slots)
        process.munmap(start + page * self.step, self.step)
        owner.written.pop(page, None)
        again = process.mmap(self.step)  # first fit: the hole
        if again.start != start + page * self.step:
            process.munmap(again)
            process.exit()
            self.processes.remove((vm, process, start, owner))
            fresh = vm.guest.spawn()
            self.adopt(vm, fresh, self.area(fresh), Owner(self.tag()))

    def everything_is_as_written(self) -> None:
        self.host.check()
        for _, process, start, owner in self.processes:
            for page in range(self.slots):
                assert process.read(start + page * self.step + 100, 16) == owner.expected(page)
        for page in range(self.program.memory // PAGE):
            assert self.program.read(page * PAGE, 16) == self.own.expected(page)
        self.host.check()

    def run(self, operations: int, checks: int) -> None:
        for step in range(1, operations + 1):
            roll = self.rng.random()
            if roll < 0.92:
                self.write_or_read()
            elif roll < 0.997:
                self.host_acts()
            else:
                self.guest_acts()
            if step % 2000 == 0:
                self.host.share()
            if step % (operations // checks) == 0:
                self.everything_is_as_written()
