"""Bytes that no driver writes, in every queue of a balloon: the device answers, and nobody else notices."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vmem

MIB = 1 << 20
MEMORY = 32 * MIB
FEATURES = {"must_tell_host": True, "free_page_hint": True, "free_page_reporting": True}
QUEUES = {"inflate": 0, "deflate": 1, "statistics": 2, "hinting": 3, "reporting": 4}
NEXT, WRITE, INDIRECT = 1, 2, 4


@dataclass
class Descriptor:
    address: int
    length: int
    flags: int
    next: int

    @property
    def bytes(self) -> bytes:
        return struct.pack("<QIHH", self.address, self.length, self.flags, self.next)


ADDRESSES = st.one_of(
    st.integers(0, MEMORY - 1),
    st.integers(0, MEMORY // 4096 - 1).map(lambda page: page * 4096),
    st.sampled_from([MEMORY - 4096, MEMORY - 1, MEMORY, 2**52, 2**64 - 4096, 2**64 - 1]),
)
LENGTHS = st.one_of(st.sampled_from([0, 1, 4, 10, 4096, 2 * MIB, 4 * MIB, 2**32 - 1]), st.integers(0, 2**14))
DESCRIPTORS = st.lists(
    st.builds(
        Descriptor,
        ADDRESSES,
        LENGTHS,
        st.sampled_from([0, WRITE, NEXT, NEXT | WRITE, INDIRECT, INDIRECT | NEXT, 0xFFFF]),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=8,
)


@dataclass
class Machine:
    hv: vmem.Hypervisor
    hostile: vmem.Vm
    other: vmem.Vm
    process: vmem.Process

    @property
    def balloon(self) -> vmem.Balloon:
        assert self.hostile.balloon is not None
        return self.hostile.balloon

    @property
    def driver(self) -> vmem.BalloonDriver:
        assert self.hostile.guest.balloon_driver is not None
        return self.hostile.guest.balloon_driver


def boot(mmu: vmem.MmuMode) -> Machine:
    hv = vmem.Hypervisor(memory="128MiB")
    hostile = hv.create_vm("hostile", memory=MEMORY, mmu=mmu, balloon=FEATURES)
    other = hv.create_vm("other", memory="16MiB", mmu=mmu, balloon=FEATURES)
    process = other.guest.spawn()
    process.write(process.mmap("1MiB").start, b"mine" * 4096)
    return Machine(hv, hostile, other, process)


def put(machine: Machine, queue: int, descriptors: list[Descriptor], heads: list[int], jump: int) -> None:
    """Over what the driver has in its queue: the first descriptors, and entries that come next."""
    table, available, _, size = machine.driver.queues[queue]
    machine.hostile.write_physical(table, b"".join(d.bytes for d in descriptors))
    index = struct.unpack("<H", machine.hostile.read_physical(available + 2, 2))[0]
    for place, head in enumerate(heads):
        entry = available + 4 + 2 * ((index + place) % size)
        machine.hostile.write_physical(entry, struct.pack("<H", head))
    machine.hostile.write_physical(available + 2, struct.pack("<H", (index + len(heads) + jump) % 65536))


def untouched(machine: Machine, resident: int) -> None:
    """The other VM has what it had, and goes on; when the hostile one has gone nothing of it is left."""
    start = machine.process.mappings()[0].start
    assert machine.process.read(start, 16384) == b"mine" * 4096
    assert machine.other.resident == resident
    assert machine.other.balloon is not None
    machine.hv.destroy_vm(machine.hostile)
    machine.other.balloon.target = 12 * MIB
    machine.hv.advance("1s")
    assert machine.other.balloon.actual == 12 * MIB
    machine.hv.check()


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("mmu", ["nested", "shadow"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    descriptors=DESCRIPTORS,
    heads=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    jump=st.sampled_from([0, 0, 0, 1, 2000, 65000]),
)
def test_bytes_that_no_driver_writes(
    mmu: vmem.MmuMode, queue: str, descriptors: list[Descriptor], heads: list[int], jump: int
) -> None:
    machine = boot(mmu)
    if queue == "hinting":
        machine.balloon.start_hinting()
    resident = machine.other.resident
    put(machine, QUEUES[queue], descriptors, heads, jump)
    machine.driver.kick(QUEUES[queue])
    if jump in (2000, 65000):
        assert machine.balloon.needs_reset
    held = machine.balloon.counters()["held"]
    assert 0 <= held <= MEMORY // 4096
    if machine.balloon.needs_reset:
        machine.driver.kick(QUEUES[queue])
        assert machine.balloon.counters()["held"] == held
    untouched(machine, resident)


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize(
    "descriptor",
    [
        Descriptor(0x100000, 0, 0, 0),
        Descriptor(MEMORY - 4, 8, 0, 0),
        Descriptor(2**64 - 4, 8, WRITE, 0),
        Descriptor(0x100000, 4, NEXT, 0),
        Descriptor(0x100000, 4, NEXT, 2000),
        Descriptor(0x100000, 17, INDIRECT, 0),
    ],
)
def test_what_the_standard_forbids_makes_it_need_a_reset(queue: str, descriptor: Descriptor) -> None:
    machine = boot("nested")
    resident = machine.other.resident
    put(machine, QUEUES[queue], [descriptor], [0], 0)
    machine.driver.kick(QUEUES[queue])
    assert machine.balloon.needs_reset
    resets = [event.subject for event in machine.hv.events() if event.kind == "device_needs_reset"]
    assert resets == ["hostile"]
    machine.hv.advance("3s")  # its driver gives up
    untouched(machine, resident)


@pytest.mark.parametrize("queue", ["inflate", "deflate"])
def test_pages_that_do_not_exist_are_passed_over(queue: str) -> None:
    machine = boot("nested")
    resident = machine.other.resident
    pfns = [MEMORY // 4096, 2**32 - 1, MEMORY // 4096 - 1]
    machine.hostile.write_physical(MEMORY - 8192, struct.pack("<3I", *pfns))
    put(machine, QUEUES[queue], [Descriptor(MEMORY - 8192, 12, 0, 0)], [0], 0)
    machine.driver.kick(QUEUES[queue])
    assert not machine.balloon.needs_reset
    assert machine.balloon.violations()["pfn_outside"] == 2
    assert machine.balloon.counters()["held"] == (1 if queue == "inflate" else 0)
    untouched(machine, resident)
