"""The clock of a host: what calls take, what `advance` lets pass, and durations."""

from __future__ import annotations

import numpy as np
import pytest

import vmem
from vmem.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2s", 2 * 10**9),
        ("150ms", 150 * 10**6),
        ("1.5 ms", 1_500_000),
        ("0.000001s", 1000),
        ("7us", 7000),
        ("7 µs", 7000),
        ("3ns", 3),
        ("2min", 120 * 10**9),
        ("1h", 3600 * 10**9),
        (0, 0),
        (12345, 12345),
    ],
)
def test_durations(text: int | str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "bad", ["", "2", "s", "-1s", "2 S", "1.5ns", "2weeks", -1, 1.5, True, None, 2**64, "6000000h"]
)
def test_what_is_no_duration(bad: object) -> None:
    with pytest.raises(vmem.ConfigError, match="wait"):
        parse_duration(bad, "wait")  # type: ignore[arg-type]


def test_durations_are_shown_in_their_largest_unit() -> None:
    assert [format_duration(n) for n in (5, 1500, 2_000_000, 3 * 10**9, 90 * 10**9, 2 * 3600 * 10**9)] == [
        *("5 ns", "1.5 us", "2 ms", "3 s", "1.5 min", "2 h"),
    ]


def _cycles_of_boot() -> int:
    host = vmem.Hypervisor("256MiB")
    host.create_vm("vm", memory="16MiB")
    return host.now


def test_booting_takes_no_time() -> None:
    assert _cycles_of_boot() == 0


@pytest.mark.parametrize("mmu", ["native", "nested", "shadow", "software-tlb"])
@pytest.mark.parametrize("ghz", [1.0, 3.0])
def test_calls_take_what_their_cycles_take(mmu: str, ghz: float) -> None:
    host = vmem.Hypervisor("256MiB", ghz=ghz)
    vm = host.create_vm("vm", memory="64MiB", mmu=mmu)  # type: ignore[arg-type]
    process = vm.guest.spawn()
    heap = process.mmap("8MiB")
    process.write(heap.start, bytes(5000))
    addresses = heap.start + np.arange(200_000, dtype=np.uint64) * 40 % np.uint64(heap.length)
    process.access(addresses, np.ones(200_000, np.uint8))
    child = process.fork()
    child.exit()
    process.munmap(heap)
    assert host.now == int(vm.counters()["cycles"] / ghz) > 0


def test_advance_is_exact_and_adds_up() -> None:
    host = vmem.Hypervisor("64MiB")
    host.advance("2s")
    host.advance(5)
    host.advance(0)
    assert host.now == 2 * 10**9 + 5
    assert host.events() == []


def test_the_clock_has_an_end() -> None:
    host = vmem.Hypervisor("64MiB")
    host.advance(2**64 - 2)
    assert host.now == 2**64 - 2
    with pytest.raises(vmem.ConfigError, match="clock"):
        host.advance(1)


@pytest.mark.parametrize("bad", [0, -1.0, True, "3", float("nan"), float("inf"), 101])
def test_what_is_no_frequency(bad: object) -> None:
    with pytest.raises(vmem.ConfigError, match="ghz"):
        vmem.Hypervisor("64MiB", ghz=bad)  # type: ignore[arg-type]
