"""The same actions in every mode at once: no guest can tell which one it runs in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import vmem

from .composition import Composition

MEMORY = 4 << 20
PAGE = 4096
MODES: dict[str, dict[str, Any]] = {
    "native": {"mmu": "native"},
    "nested": {"mmu": "nested"},
    "nested, 2 MiB backing": {"mmu": "nested", "backing": "2MiB"},
    "nested, NPT": {"mmu": "nested", "cpu": "zen3"},
    "trace": {"mmu": "shadow", "sync": "trace"},
    "trace, 2 MiB backing": {"mmu": "shadow", "sync": "trace", "backing": "2MiB"},
    "trace, few pages": {"mmu": "shadow", "sync": "trace", "shadow_pages": 9},
    "unsync": {"mmu": "shadow", "sync": "unsync"},
    "unsync, few pages": {"mmu": "shadow", "sync": "unsync", "shadow_pages": 9},
    "vtlb": {"mmu": "shadow", "sync": "vtlb"},
    "vtlb, 2 MiB backing": {"mmu": "shadow", "sync": "vtlb", "backing": "2MiB"},
    "vtlb, few pages": {"mmu": "shadow", "sync": "vtlb", "shadow_pages": 9},
    "trace, direct faults": {"mmu": "shadow", "sync": "trace", "direct_faults": True},
    "unsync, direct faults": {"mmu": "shadow", "sync": "unsync", "direct_faults": True},
    "unsync, direct faults, few pages": {
        "mmu": "shadow",
        "sync": "unsync",
        "direct_faults": True,
        "shadow_pages": 9,
        "backing": "2MiB",
    },
    "software TLB": {"mmu": "software-tlb"},
    "software TLB, second level": {"mmu": "software-tlb", "software_tlb": 64},
    "software TLB, 2 MiB backing": {"mmu": "software-tlb", "backing": "2MiB", "software_tlb": 1024},
}
ON_DEMAND = ("nested", "nested, NPT", "trace", "unsync", "vtlb", "software TLB")
"""Modes that give a guest one machine frame, or a place in the swap, for each frame of 4 KiB it touches."""


@dataclass
class World:
    """One host with one VM."""

    host: vmem.Hypervisor
    vm: vmem.Vm
    processes: list[vmem.Process] = field(default_factory=list)


def make_world(options: dict[str, Any]) -> World:
    host = vmem.Hypervisor("64MiB", swap="64MiB", seed=1)
    return World(host, host.create_vm("guest", memory=MEMORY, vcpus=2, **options))


def outcome(action: Any, world: World) -> Any:
    """What the guest sees of an action: its result, or the error."""
    try:
        return action(world)
    except vmem.SegmentationFault as fault:
        return ("SIGSEGV", fault.address, fault.access)
    except vmem.OutOfMemory:
        return "out of memory"
    except vmem.ConfigError as error:
        return ("refused", str(error))


class Lockstep(RuleBasedStateMachine):
    """Every rule does one thing in every world and compares what came of it."""

    @initialize()
    def create(self) -> None:
        self.worlds = {name: make_world(options) for name, options in MODES.items()}
        self.areas: list[list[vmem.Mapping]] = []
        self.spawn()

    def everywhere(self, action: Any) -> Any:
        results = {name: outcome(action, world) for name, world in self.worlds.items()}
        expected = results["native"]
        assert all(result == expected for result in results.values()), results
        return expected

    def pick(self, process: int) -> int:
        return process % len(self.areas)

    def place(self, process: int, area: int, page: int) -> tuple[int, int]:
        """The index of a process and an address in, or just past, one of its areas."""
        index = self.pick(process)
        areas = self.areas[index]
        if not areas:
            return index, 0x10000 + page * PAGE
        chosen = areas[area % len(areas)]
        return index, chosen.start + page % (chosen.length // PAGE + 1) * PAGE

    @precondition(lambda self: len(self.areas) < 4)
    @rule()
    def spawn(self) -> None:
        def action(world: World) -> int:
            process = world.vm.guest.spawn()
            process.vcpu = process.pid % 2
            world.processes.append(process)
            return process.pid

        self.everywhere(action)
        self.areas.append([])

    @rule(
        process=st.integers(0, 3), pages=st.integers(1, 560), page=st.sampled_from(["4KiB", "4KiB", "2MiB"])
    )
    def mmap(self, process: int, pages: int, page: str) -> None:
        index = self.pick(process)
        area = self.everywhere(lambda w: w.processes[index].mmap(pages * PAGE, page=page))
        if isinstance(area, vmem.Mapping):
            self.areas[index].append(area)

    @rule(
        process=st.integers(0, 3), area=st.integers(0, 9), page=st.integers(0, 700), pages=st.integers(1, 80)
    )
    def munmap(self, process: int, area: int, page: int, pages: int) -> None:
        index, start = self.place(process, area, page)
        self.everywhere(lambda w: w.processes[index].munmap(start, pages * PAGE))

    @rule(
        process=st.integers(0, 3),
        area=st.integers(0, 9),
        page=st.integers(0, 700),
        pages=st.integers(1, 80),
        prot=st.sampled_from(["r", "rw", "-", "rx"]),
    )
    def mprotect(self, process: int, area: int, page: int, pages: int, prot: str) -> None:
        index, start = self.place(process, area, page)
        self.everywhere(lambda w: w.processes[index].mprotect(start, prot, pages * PAGE))

    @rule(
        process=st.integers(0, 3),
        area=st.integers(0, 9),
        page=st.integers(0, 700),
        data=st.binary(min_size=1, max_size=20),
        vcpu=st.integers(0, 1),
    )
    def write(self, process: int, area: int, page: int, data: bytes, vcpu: int) -> None:
        index, start = self.place(process, area, page)

        def action(world: World) -> None:
            world.processes[index].vcpu = vcpu
            world.processes[index].write(start + 4090, data)

        self.everywhere(action)

    @rule(
        process=st.integers(0, 3),
        area=st.integers(0, 9),
        page=st.integers(0, 700),
        length=st.integers(1, 9000),
    )
    def read(self, process: int, area: int, page: int, length: int) -> None:
        index, start = self.place(process, area, page)
        self.everywhere(lambda w: w.processes[index].read(start, length))

    @rule(
        process=st.integers(0, 3),
        area=st.integers(0, 9),
        page=st.integers(0, 700),
        steps=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 2)), min_size=1, max_size=60),
    )
    def touch(self, process: int, area: int, page: int, steps: list[tuple[int, int]]) -> None:
        index, start = self.place(process, area, page)
        batch = vmem.batch([start + offset * PAGE for offset, _ in steps], [kind for _, kind in steps])

        def action(world: World) -> tuple[int, int, int | None, int]:
            summary = world.processes[index].access(*batch)
            return (
                summary.references,
                summary.segfaults,
                summary.first_segfault,
                summary.faults["guest_page_fault"],
            )

        self.everywhere(action)

    @precondition(lambda self: len(self.areas) < 4)
    @rule(process=st.integers(0, 3))
    def fork(self, process: int) -> None:
        index = self.pick(process)

        def action(world: World) -> int:
            child = world.processes[index].fork()
            world.processes.append(child)
            return child.pid

        if isinstance(self.everywhere(action), int):
            self.areas.append(list(self.areas[index]))

    @precondition(lambda self: len(self.areas) > 1)
    @rule(process=st.integers(0, 3))
    def leave(self, process: int) -> None:
        index = self.pick(process)
        self.everywhere(lambda w: w.processes.pop(index).exit())
        del self.areas[index]

    @rule(frames=st.lists(st.integers(0, MEMORY // PAGE - 1), min_size=1, max_size=50))
    def migrate(self, frames: list[int]) -> None:
        """The host moves frames about: something that no guest may notice."""
        for world in self.worlds.values():
            for frame in frames:
                world.vm.migrate(frame * PAGE)

    @rule(frames=st.lists(st.integers(0, MEMORY // PAGE - 1), min_size=1, max_size=80))
    def swap_out(self, frames: list[int]) -> None:
        """The host needs the frames: data, page tables, or whatever else the guest keeps there."""
        for world in self.worlds.values():
            for frame in frames:
                world.vm.swap_out(frame * PAGE)

    @rule()
    def share(self) -> None:
        for world in self.worlds.values():
            world.host.share()

    @rule(frames=st.lists(st.integers(0, MEMORY // PAGE - 1), min_size=1, max_size=3))
    def split(self, frames: list[int]) -> None:
        for world in self.worlds.values():
            for frame in frames:
                world.vm.split(frame * PAGE)

    @rule(frame=st.integers(0, MEMORY // PAGE - 1))
    def collapse(self, frame: int) -> None:
        for world in self.worlds.values():
            world.vm.collapse(frame * PAGE)

    @rule(vcpu=st.integers(0, 1))
    def flush(self, vcpu: int) -> None:
        for world in self.worlds.values():
            world.vm.vcpus[vcpu].flush_tlb()

    @invariant()
    def nothing_is_broken(self) -> None:
        for world in getattr(self, "worlds", {}).values():
            world.host.check()

    @invariant()
    def guests_are_equal(self) -> None:
        """Their memory to the last bit: data, page tables with A and D bits, allocator; and statistics."""
        if not hasattr(self, "worlds"):
            return
        expected = self.worlds["native"].vm
        memory = expected.read_physical(0, MEMORY)
        for name, world in self.worlds.items():
            assert world.vm.guest.vmstat() == expected.guest.vmstat(), name
            found = world.vm.read_physical(0, MEMORY)
            if found != memory:
                at = next(i for i in range(0, MEMORY, 8) if found[i : i + 8] != memory[i : i + 8])
                here, there = (bytes(m[at : at + 8][::-1]).hex() for m in (found, memory))
                raise AssertionError(f"{name}: gPA {at:#x} is {here}, native {there}")

    @invariant()
    def residents_are_equal(self) -> None:
        if not hasattr(self, "worlds"):
            return
        vms = {name: self.worlds[name].vm for name in ON_DEMAND}
        residents = {name: vm.resident + vm.swapped for name, vm in vms.items()}
        assert len(set(residents.values())) == 1, residents

    @invariant()
    def usable_translations_are_the_composition(self) -> None:
        """What a vCPU would find is what the guest's table and the hypervisor's map say together."""
        if not hasattr(self, "worlds"):
            return
        for index, areas in enumerate(self.areas):
            pages = [at for area in areas[:3] for at in range(area.start, area.end, PAGE)][:200]
            if not pages:
                continue
            addresses, _ = vmem.batch(pages)
            for name, world in self.worlds.items():
                composed = Composition(world.vm, world.processes[index])
                found = world.processes[index].translate(addresses).tolist()
                assert found == [composed.machine(page) for page in pages], name


TestLockstep = Lockstep.TestCase
TestLockstep.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
