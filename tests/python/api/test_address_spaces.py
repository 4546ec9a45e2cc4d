"""Random programs against a model of bytes, in every mode, with every invariant checked after every step."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

import vmem

from .address_space_model import PAGE, Model

BASE = 0x2000_0000_0000
WINDOW = 3 * 512
"""Pages that programs map at addresses of their choice: three times 2 MiB."""

# Positions cluster where boundaries are: first pages, and both sides of 2 MiB lines.
positions = st.one_of(
    st.integers(0, 20),
    st.sampled_from([510, 511, 512, 513, 1022, 1023, 1024, 1025]),
    st.sampled_from([0, 512, 1024]),
)
lengths = st.one_of(st.integers(1, 12), st.sampled_from([511, 512, 513, 1024]))
protections = st.sampled_from(["r", "w", "x", "rw", "rw", "rw", "rx", "rwx", "-"])
page_sizes = st.sampled_from(["4KiB", "4KiB", "2MiB", "auto"])


class Program:
    """A process and the model of it."""

    def __init__(self, process: vmem.Process, model: Model) -> None:
        self.process = process
        self.model = model


class AddressSpaces(RuleBasedStateMachine):
    """Processes of one VM; subclasses say which sort of VM."""

    mode: ClassVar[dict[str, str]] = {}
    programs = Bundle("programs")

    def __init__(self) -> None:
        super().__init__()
        self.host = vmem.Hypervisor("256MiB")
        self.vm = self.host.create_vm("vm", memory="96MiB", vcpus=2, **self.mode)  # type: ignore[arg-type]
        self.booted = self.vm.guest.free
        self.alive: list[Program] = []

    def _add(self, process: vmem.Process, model: Model) -> Program:
        self.alive.append(Program(process, model))
        return self.alive[-1]

    @initialize(target=programs)
    def first(self) -> Program:
        return self._add(self.vm.guest.spawn("first"), Model())

    @precondition(lambda self: len(self.alive) < 4)
    @rule(target=programs)
    def spawn(self) -> Program:
        return self._add(self.vm.guest.spawn("spawned"), Model())

    @precondition(lambda self: len(self.alive) < 4)
    @rule(target=programs, parent=programs)
    def fork(self, parent: Program) -> Program:
        return self._add(parent.process.fork(), parent.model.fork())

    @precondition(lambda self: len(self.alive) > 1)
    @rule(program=consumes(programs))
    def exit(self, program: Program) -> None:
        program.process.exit()
        self.alive.remove(program)

    @rule(program=programs, vcpu=st.integers(0, 1))
    def move(self, program: Program, vcpu: int) -> None:
        program.process.vcpu = vcpu

    @rule(vcpu=st.integers(0, 1))
    def flush(self, vcpu: int) -> None:
        self.vm.vcpus[vcpu].flush_tlb()

    @rule(program=programs, first=positions, count=lengths, prot=protections, page=page_sizes)
    def mmap(self, program: Program, first: int, count: int, prot: str, page: str) -> None:
        number = BASE // PAGE + first
        if program.model.overlaps(number, count):
            with pytest.raises(vmem.ConfigError, match="overlaps an existing mapping"):
                program.process.mmap(count * PAGE, prot=prot, at=number * PAGE, page=page)
            return
        mapping = program.process.mmap(count * PAGE, prot=prot, at=number * PAGE, page=page)
        assert (mapping.start, mapping.length) == (number * PAGE, count * PAGE)
        program.model.map(number, count, prot)

    @rule(program=programs, count=st.integers(1, 8), page=page_sizes)
    def mmap_anywhere(self, program: Program, count: int, page: str) -> None:
        mapping = program.process.mmap(count * PAGE, page=page)
        assert mapping.length == count * PAGE
        assert not program.model.overlaps(mapping.start // PAGE, count)
        program.model.map(mapping.start // PAGE, count, "rw")

    @rule(program=programs, first=positions, count=lengths)
    def munmap(self, program: Program, first: int, count: int) -> None:
        number = BASE // PAGE + first
        program.process.munmap(number * PAGE, count * PAGE)
        program.model.unmap(number, count)

    @rule(program=programs, first=positions, count=lengths, prot=protections)
    def mprotect(self, program: Program, first: int, count: int, prot: str) -> None:
        number = BASE // PAGE + first
        if not program.model.covers(number, count):
            with pytest.raises(vmem.ConfigError, match="part of the range is not mapped"):
                program.process.mprotect(number * PAGE, prot, count * PAGE)
            return
        program.process.mprotect(number * PAGE, prot, count * PAGE)
        program.model.protect(number, count, prot)

    @rule(program=programs, pages=st.integers(0, 6), odd=st.sampled_from([0, 1, 100, 4095]))
    def brk(self, program: Program, pages: int, odd: int) -> None:
        model = program.model
        start = program.process.brk()
        if model.heap_start == 0:
            model.heap_start = model.heap_end = start
        assert start == model.heap_end
        end = model.heap_start + pages * PAGE + odd
        assert program.process.brk(end) == end
        old, new = -(-model.heap_end // PAGE), -(-end // PAGE)
        model.map(old, max(0, new - old), "rw")
        model.unmap(new, max(0, old - new))
        model.heap_end = end

    def _address(self, program: Program, where: int, offset: int) -> int:
        """In the window, or in the heap for positions past the window's usual ones."""
        heap = program.model.heap_start
        return heap + where % 7 * PAGE + offset if heap and offset % 5 == 0 else BASE + where * PAGE + offset

    @rule(
        program=programs,
        where=positions,
        offset=st.integers(0, PAGE - 1),
        data=st.binary(min_size=1, max_size=20),
    )
    def write(self, program: Program, where: int, offset: int, data: bytes) -> None:
        self._write(program, self._address(program, where, offset), data)

    @rule(program=programs, where=positions, offset=st.integers(0, PAGE - 1), byte=st.integers(1, 255))
    def write_pages(self, program: Program, where: int, offset: int, byte: int) -> None:
        self._write(program, self._address(program, where, offset), bytes([byte]) * (3 * PAGE - 7))

    def _write(self, program: Program, address: int, data: bytes) -> None:
        fault = program.model.write(address, data)
        if fault is None:
            program.process.write(address, data)
            return
        with pytest.raises(vmem.SegmentationFault) as caught:
            program.process.write(address, data)
        assert (caught.value.address, caught.value.access) == (fault, "store")

    @rule(program=programs, where=positions, offset=st.integers(0, PAGE - 1), length=st.integers(1, 3 * PAGE))
    def read(self, program: Program, where: int, offset: int, length: int) -> None:
        address = self._address(program, where, offset)
        expected = program.model.read(address, length)
        if isinstance(expected, bytes):
            assert program.process.read(address, length) == expected
            return
        with pytest.raises(vmem.SegmentationFault) as caught:
            program.process.read(address, length)
        assert (caught.value.address, caught.value.access) == (expected, "load")

    @rule(
        program=programs, where=st.lists(positions, min_size=1, max_size=30), seed=st.integers(0, 2**32 - 1)
    )
    def access(self, program: Program, where: list[int], seed: int) -> None:
        pages = np.array(where, np.uint64) + np.uint64(BASE // PAGE)
        kinds = np.random.default_rng(seed).integers(0, 3, len(where), dtype=np.uint8)
        names = ["load", "store", "fetch"]
        faults = [
            page * PAGE
            for page, kind in zip(pages.tolist(), kinds.tolist(), strict=True)
            if not program.model.allows(page, names[kind])
        ]
        summary = program.process.access(pages * np.uint64(PAGE), kinds)
        assert summary.references == len(where)
        assert summary.segfaults == len(faults)
        assert summary.first_segfault == (faults[0] if faults else None)

    @invariant()
    def host_is_consistent(self) -> None:
        self.host.check()

    @invariant()
    def areas_are_those_of_the_model(self) -> None:
        for program in self.alive:
            areas = {
                page: mapping.prot
                for mapping in program.process.mappings()
                for page in range(mapping.start // PAGE, mapping.end // PAGE)
            }
            assert areas == {number: page.prot for number, page in program.model.pages.items()}

    @invariant()
    def nothing_is_translated_that_is_not_mapped(self) -> None:
        for program in self.alive:
            numbers = np.arange(BASE // PAGE, BASE // PAGE + WINDOW, dtype=np.uint64)
            found = program.process.translate(numbers * np.uint64(PAGE)) != vmem.UNMAPPED
            for number in numbers[found].tolist():
                assert program.model.allows(number, "load")

    def teardown(self) -> None:
        for program in self.alive:
            for number, page in program.model.pages.items():
                if page.prot != "-":
                    contents = bytes(page.contents or bytes(PAGE))
                    assert program.process.read(number * PAGE, PAGE) == contents
            program.process.exit()
        assert self.vm.guest.free == self.booted, "every frame came back"
        self.host.check()


class Native(AddressSpaces):
    mode: ClassVar = {"mmu": "native"}


class Nested(AddressSpaces):
    mode: ClassVar = {"mmu": "nested"}


class NestedLargeBacking(AddressSpaces):
    mode: ClassVar = {"mmu": "nested", "backing": "2MiB"}


class ShadowTrace(AddressSpaces):
    mode: ClassVar = {"mmu": "shadow", "sync": "trace"}


class ShadowUnsync(AddressSpaces):
    mode: ClassVar = {"mmu": "shadow", "sync": "unsync"}


class ShadowVirtualTlb(AddressSpaces):
    mode: ClassVar = {"mmu": "shadow", "sync": "vtlb"}


class SoftwareTlb(AddressSpaces):
    mode: ClassVar = {"mmu": "software-tlb", "software_tlb": 64}


def collected(machine: type[AddressSpaces]) -> type:
    """What pytest collects: a quarter of the usual number of examples, each of 40 steps."""
    case = machine.TestCase
    case.settings = settings(max_examples=settings.default.max_examples // 4, stateful_step_count=40)
    return case


TestNative = collected(Native)
TestNested = collected(Nested)
TestNestedLargeBacking = collected(NestedLargeBacking)
TestShadowTrace = collected(ShadowTrace)
TestShadowUnsync = collected(ShadowUnsync)
TestShadowVirtualTlb = collected(ShadowVirtualTlb)
TestSoftwareTlb = collected(SoftwareTlb)
