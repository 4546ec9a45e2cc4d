"""System calls and accesses that cannot be: typed errors, and the address space is what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import vmem
from vmem import ConfigError, Mapping, Process, SegmentationFault

PAGE = 4096
TOP = 0x7FFF_FFFF_F000
"""End of the user half with 4 levels."""


@pytest.fixture
def heap(process: Process) -> Mapping:
    """Four pages, the second holds "kept"."""
    mapping = process.mmap(4 * PAGE, name="heap")
    process.write(mapping.start + PAGE, b"kept")
    return mapping


def refused(call: Callable[[], Any], *fragments: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_mmap(process: Process, heap: Mapping) -> None:
    before = process.mappings()
    users = f"accepted are user addresses from 0x10000 to {TOP:#x}"
    refused(lambda: process.mmap(0), "mmap length: 0 bytes; accepted is a positive length")
    refused(lambda: process.mmap(-4096), "mmap length: -4096 is negative")
    refused(lambda: process.mmap(1.5), "mmap length: 1.5 is not a size")  # type: ignore[arg-type]
    refused(
        lambda: process.mmap(2**57), f"mmap length: {2**57} bytes; accepted is a positive length up to 2**56"
    )
    refused(lambda: process.mmap("128TiB"), "0x800000000000 bytes", users)
    refused(lambda: process.mmap(PAGE, at=123), "at 0x7b: the address must be a multiple of 4096")
    refused(lambda: process.mmap(PAGE, at=0), "mmap at 0x0: addresses below 0x10000 are kept free")
    refused(lambda: process.mmap(PAGE, at=TOP), f"at {TOP:#x}", users)
    refused(lambda: process.mmap(PAGE, at=1 << 47), "at 0x800000000000", users)
    refused(lambda: process.mmap(PAGE, at=0xFFFF_8000_0000_0000), "at 0xffff800000000000", users)
    refused(lambda: process.mmap(PAGE, at=-1), "mmap at: -1; accepted is an address from 0 to 2**64 - 1")
    refused(lambda: process.mmap(PAGE, at=2**64), f"mmap at: {2**64}; accepted is an address")
    refused(lambda: process.mmap(PAGE, at="here"), "mmap at: 'here'; accepted is an address")  # type: ignore[arg-type]
    refused(lambda: process.mmap(PAGE, at=heap.start), f"at {heap.start:#x} overlaps an existing mapping")
    refused(lambda: process.mmap(PAGE, prot="rwz"), "prot: 'rwz'; accepted are combinations of 'r', 'w', 'x'")
    refused(lambda: process.mmap(PAGE, prot=""), "prot: ''; accepted are combinations of 'r', 'w', 'x'")
    refused(lambda: process.mmap(PAGE, prot=3), "prot: 3; accepted are combinations")  # type: ignore[arg-type]
    refused(
        lambda: process.mmap(PAGE, page="16KiB"), "mmap page: '16KiB'; accepted are 4KiB, 2MiB, 1GiB, auto"
    )
    refused(lambda: process.mmap(PAGE, name=7), "mmap name: 7; accepted is a string")  # type: ignore[arg-type]
    assert process.mappings() == before


@pytest.mark.parametrize("call", ["munmap", "mprotect"])
def test_ranges(process: Process, heap: Mapping, call: str) -> None:
    def make(start: Any, length: Any) -> Callable[[], None]:
        if call == "munmap":
            return lambda: process.munmap(start, length)
        return lambda: process.mprotect(start, "r", length)

    before = process.mappings()
    start = heap.start
    refused(
        make(start + 1, PAGE),
        f"{call} of 0x1000 bytes at {start + 1:#x}: the address must be a multiple of 4096",
    )
    refused(make(start, 0), f"{call} of 0x0 bytes", "the length must be positive")
    refused(make(start, -1), f"{call} length: -1 is negative")
    refused(make(start, None), f"{call}: give a Mapping, or an address and a length")
    refused(make(-PAGE, PAGE), f"{call}: -4096; accepted is an address from 0 to 2**64 - 1")
    refused(make(2**64, PAGE), f"{call}: {2**64}; accepted is an address")
    refused(make("here", PAGE), f"{call}: 'here'; accepted is an address")
    refused(make(TOP, PAGE), f"{call} of 0x1000 bytes at {TOP:#x}: accepted are user addresses")
    refused(
        make(start, 2**63), f"{call} of 0x8000000000000000 bytes at {start:#x}: accepted are user addresses"
    )
    assert process.mappings() == before
    assert process.read(start + PAGE, 4) == b"kept"


def test_mprotect_of_a_hole(process: Process, heap: Mapping) -> None:
    process.munmap(heap.start + 2 * PAGE, PAGE)
    before = process.mappings()
    refused(lambda: process.mprotect(heap, "r"), "part of the range is not mapped", f"{heap.start:#x}")
    assert process.mappings() == before
    process.write(heap.start, b"still writable")


def test_brk(process: Process, heap: Mapping) -> None:
    end = process.brk()
    for wrong in (-1, 2**64, 1.5, "end", None):
        refused(
            lambda value=wrong: process.brk(value),
            f"brk: {wrong!r}; accepted is an address from 0 to 2**64 - 1",
        )
    # As Linux: what cannot be granted changes nothing and returns the end as it is.
    assert process.brk(2**48) == end
    assert process.brk(5) == end
    assert process.brk() == end


def test_lengths_and_data(process: Process, heap: Mapping) -> None:
    refused(lambda: process.read(heap.start, -1), "read length: -1 is negative")
    refused(
        lambda: process.read(heap.start, "1TiB"),
        "read of 1099511627776 bytes: accepted is up to 4 GiB at once",
    )
    refused(lambda: process.write(heap.start, "text"), "data: str; accepted is a bytes-like object")  # type: ignore[arg-type]
    refused(lambda: process.write(heap.start, 7), "data: int; accepted is a bytes-like object")  # type: ignore[arg-type]
    refused(lambda: process.write(heap.start, np.arange(8)[::2]), "data: accepted is a contiguous buffer")
    for wrong in (-1, 2**64, "0x1000", 4096.0):
        refused(lambda value=wrong: process.read(value, 1), f"read: {wrong!r}; accepted is an address")
        refused(lambda value=wrong: process.write(value, b"x"), f"write: {wrong!r}; accepted is an address")
    assert process.read(heap.start, 0) == b""
    assert process.read(heap.start, 4 * PAGE) == bytes(PAGE) + b"kept" + bytes(3 * PAGE - 4)


def test_segmentation_faults_name_address_and_access(process: Process, heap: Mapping) -> None:
    process.mprotect(heap.start + 2 * PAGE, "r", PAGE)
    process.mprotect(heap.start + 3 * PAGE, "-", PAGE)
    for address in (
        0,
        0x1000,
        heap.start - 1,
        heap.end,
        1 << 46,
        1 << 47,
        1 << 63,
        2**64 - 1,
        heap.start + 3 * PAGE,
    ):
        with pytest.raises(SegmentationFault, match=f"load at {address:#x}$") as caught:
            process.read(address, 1)
        assert (caught.value.address, caught.value.access) == (address, "load")
    with pytest.raises(SegmentationFault, match=f"store at {heap.start + 2 * PAGE:#x}$"):
        process.write(heap.start + 2 * PAGE, b"x")
    # A range is done up to the page that faults; the error names that page's first byte of it.
    with pytest.raises(SegmentationFault, match=f"store at {heap.start + 2 * PAGE:#x}$"):
        process.write(heap.start + 2 * PAGE - 3, b"abcdef")
    assert process.read(heap.start + 2 * PAGE - 3, 4) == b"abc\0"


def test_segmentation_faults_of_batches_are_counted(process: Process, heap: Mapping) -> None:
    mapped, unmapped, beyond = heap.start, heap.end + PAGE, 1 << 47
    addresses, _ = vmem.batch([mapped, unmapped, beyond, mapped, unmapped])
    summary = process.access(addresses, np.array([1, 0, 1, 0, 2], np.uint8))
    assert (summary.references, summary.segfaults, summary.first_segfault) == (5, 3, unmapped)
    assert not summary.killed
    # The heap is mapped without x.
    summary = process.access(*vmem.batch([mapped], 2))
    assert (summary.segfaults, summary.first_segfault) == (1, mapped)
    summary = process.access(*vmem.batch([mapped], 0))
    assert (summary.segfaults, summary.first_segfault) == (0, None)


GOOD = np.array([0x10000], np.uint64), np.zeros(1, np.uint8)


@pytest.mark.parametrize(
    ("addresses", "kinds", "message"),
    [
        ([0x10000], GOOD[1], "addresses: expected a numpy array, got <class 'list'>"),
        (GOOD[0], 0, "kinds: expected a numpy array, got <class 'int'>"),
        (GOOD[0].astype(np.int64), GOOD[1], "addresses: expected dtype uint64, got int64"),
        (GOOD[0].astype(np.float64), GOOD[1], "addresses: expected dtype uint64, got float64"),
        (GOOD[0].astype(">u8"), GOOD[1], "addresses: expected dtype uint64, got >u8"),
        (GOOD[0], GOOD[1].astype(np.int8), "kinds: expected dtype uint8, got int8"),
        (GOOD[0], GOOD[1].astype(bool), "kinds: expected dtype uint8, got bool"),
        (GOOD[0].reshape(1, 1), GOOD[1], "addresses: expected one dimension, got 2"),
        (np.zeros((), np.uint64), GOOD[1], "addresses: expected one dimension, got 0"),
        (GOOD[0], np.zeros(2, np.uint8), "addresses has 1 elements, kinds has 2: they must be equal"),
        (GOOD[0], np.full(1, 3, np.uint8), "kinds[0] is 3, accepted are 0 (load), 1 (store), 2 (fetch)"),
    ],
)
def test_arrays(process: Process, heap: Mapping, addresses: Any, kinds: Any, message: str) -> None:
    before = process._core.counters(process._vm)
    refused(lambda: process.access(addresses, kinds), message)
    assert process._core.counters(process._vm) == before
    bare = vmem.Mmu(vmem.PhysicalMemory("1MiB"))
    refused(lambda: bare.access_batch(addresses, kinds), message)
    assert set(bare.counters().values()) == {0}
    if "addresses:" in message:
        refused(lambda: process.translate(addresses), message)


def test_arrays_need_not_be_contiguous(process: Process, heap: Mapping) -> None:
    addresses = np.repeat(np.array([heap.start, heap.start + PAGE], np.uint64), 3)[::3]
    assert process.access(addresses, np.zeros(4, np.uint8)[::2]).counters["loads"] == 2
    assert (process.translate(addresses) != vmem.UNMAPPED).all()


def test_translate_of_nothing(process: Process, heap: Mapping) -> None:
    addresses, _ = vmem.batch([0, heap.end, 1 << 47, 1 << 63, 2**64 - 1])
    assert (process.translate(addresses) == vmem.UNMAPPED).all()


def test_vcpus(vm: vmem.Vm, process: Process) -> None:
    for wrong in (2, -1, 0.5, "0", None):
        message = f"vcpu: {wrong!r}; accepted is an int from 0 to 1"
        refused(lambda value=wrong: setattr(process, "vcpu", value), message)
        refused(lambda value=wrong: vm.guest.spawn("b", vcpu=value), message)
    assert process.vcpu == 0
    refused(lambda: vm.guest.spawn(7), "process name: 7; accepted is a string")  # type: ignore[arg-type]


def test_replays(process: Process, heap: Mapping) -> None:
    trace = vmem.batch([heap.start] * 10, 1)
    for wrong in (-1, 1.5, "all", True):
        refused(
            lambda value=wrong: process.run(trace, value),
            f"limit: {wrong!r}; accepted is a number of references",
        )
    refused(lambda: process.run("trace.vmt"), "trace: str; accepted are a vmem.Trace or a pair of arrays")  # type: ignore[arg-type]
    refused(lambda: process.load(trace[:1]), "trace: tuple; accepted are a vmem.Trace or a pair")  # type: ignore[arg-type]
    refused(lambda: process.load(trace, page="1MiB"), "page: '1MiB'; accepted are 4KiB, 2MiB, 1GiB, auto")
    refused(lambda: process.run(trace, page=4096), "page: 4096; accepted are 4KiB, 2MiB, 1GiB, auto")  # type: ignore[arg-type]
    assert process.run(trace, 0).references == 0
    assert process.run(trace, 4).references == 4
