"""Scenarios of hosts that promised too much: the examples' stories, by their numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmem.errors import ConfigError
from vmem.scenario import Scenario
from vmem.timed import TimedRunner

EXAMPLES = Path(__file__).parents[3] / "examples"
MIB = 1 << 20


def run(text: str):
    """Rows of the timeline by VM and second, and the whole result."""
    result = TimedRunner(Scenario.parse(text)).run()
    rows = {(row.vm, row.time_ns // 10**9): row for row in reversed(result.timeline)}
    return rows, result


def test_the_high_water_mark_and_the_stall_that_follows():
    rows, result = run((EXAMPLES / "high_water_mark.toml").read_text())
    # Touched, freed in the guest, and still the host's expense: until the host needs it, nothing comes back.
    assert rows["early", 4].resident_bytes > 616 * MIB
    assert rows["early", 7].guest_used_bytes < 20 * MIB
    assert {rows["early", s].resident_bytes for s in range(4, 10)} == {rows["early", 4].resident_bytes}
    assert rows["early", 9].swapped_bytes == 0
    # Together more than the machine has.
    at = rows["early", 12], rows["late", 12]
    assert sum(row.swapped_bytes for row in at) > 240 * MIB
    assert sum(row.resident_bytes + row.swapped_bytes for row in at) > 1 << 30
    # What the guest had free has to be read back to be used again.
    assert (
        sum(row.waiting_ns for row in result.timeline if row.vm == "early" and row.time_ns > 15 * 10**9)
        > 10**9
    )
    assert (
        sum(row.waiting_ns for row in result.timeline if row.vm == "early" and row.time_ns < 15 * 10**9)
        < 2 * 10**8
    )
    vms = {vm["name"]: vm for vm in result.summary["vms"]}
    assert vms["early"]["slowdown"] > 1.15 and vms["late"]["slowdown"] > 1.05


def test_a_balloon_makes_room_without_swap_or_stall():
    text = (EXAMPLES / "balloon_makes_room.toml").read_text()
    rows, result = run(text)
    swapping, without = run(re.sub(r"^balloon = true\n", "", text, flags=re.MULTILINE))
    assert sum(row.waiting_ns for row in result.timeline) == 0
    assert result.host[-1].swapped_out_pages == 0
    assert rows["early", 50].balloon_bytes > 150 * MIB
    assert result.host[-1].process_bytes == 200 * MIB
    assert rows["late", 59].guest_used_bytes > 310 * MIB
    assert without.host[-1].swapped_out_pages * 4096 > 150 * MIB
    assert sum(row.waiting_ns for row in without.timeline) > 5 * 10**8
    assert swapping["early", 50].balloon_bytes == 0


SMALL = """
[host]
memory = "128MiB"
[[vm]]
name = "a"
memory = "64MiB"
swap = "64MiB"
disk = "32MiB"
[[vm.process]]
name = "sweep"
workload = { kind = "sequential", size = "80MiB", references = 30_000, writes = 1.0, compute = "1us" }
[run]
duration = "200ms"
slowdown = false
"""


def test_a_guest_that_swaps_reads_and_writes_its_disk():
    """Its pages are written although they read as zeros: a program's store stands for data."""
    text = SMALL.replace('kind = "sequential", size = "80MiB"', 'kind = "stride", size = "80MiB"')
    _, result = run(text.replace('"200ms"', '"20s"'))
    vm = result.summary["vms"][0]
    assert vm["vmstat"]["pswpout"] > 3000 and vm["vmstat"]["swpout_zero"] == 0
    assert vm["vmstat"]["pswpin"] > 0
    assert max(row.guest_swapped_bytes for row in result.timeline) > 14 * MIB
    assert sum(row.stall_some_ns for row in result.timeline) > 10**7
    assert vm["pressure"]["some"]["total"] * 1000 == pytest.approx(
        sum(row.stall_some_ns for row in result.timeline), abs=1000
    )


def test_a_file_scan_fills_the_page_cache_and_gives_way():
    text = SMALL.replace(
        'kind = "sequential", size = "80MiB", references = 30_000, writes = 1.0',
        'kind = "file-scan", size = "32MiB", references = 200_000',
    )
    _, result = run(text.replace('"200ms"', '"2s"'))
    vm = result.summary["vms"][0]
    assert 31 * MIB < max(row.guest_cached_bytes for row in result.timeline) <= 32 * MIB
    assert vm["vmstat"]["pgpgin"] >= 32 * 1024  # the second pass reads nothing
    assert vm["vmstat"]["pgpgin"] < 40 * 1024
    assert vm["vmstat"]["pgmajfault"] > 0


LONG = SMALL.replace("30_000", "3_000_000")


def test_host_processes_come_grow_and_go():
    program = 'memory = "40MiB"\nstart = "20ms"\ngrow = "100ms"\nend = "150ms"'
    _, result = run(LONG.replace("[run]", HOST_PROCESS.format(program)))
    held = {row.time_ns // 10**6: row.process_bytes for row in result.host}
    assert held[18] == 0 and 18 * MIB < held[70] < 22 * MIB
    assert held[130] == 40 * MIB and held[160] == 0
    assert result.summary["host_processes"] == [
        {"name": "b", "memory_bytes": 0, "wanted_bytes": 40 * MIB, "refused_bytes": 0}
    ]


def test_a_host_process_that_cannot_have_its_memory_is_a_warning():
    program = 'memory = "120MiB"\nstart = "100ms"'
    _, result = run(LONG.replace("sequential", "stride").replace("[run]", HOST_PROCESS.format(program)))
    assert [text for text in result.warnings if text.startswith("host process 'b': could not give it")]


HOST_PROCESS = '[[host_process]]\nname = "b"\n{}\n[run]'
SCAN = 'kind = "file-scan", size = "{}"'
SWEEP = 'kind = "sequential", size = "80MiB"'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('swap = "64MiB"', 'swap = "1KiB"', r"vm\[0\].swap: 1024; accepted is a positive multiple of 4 KiB"),
        ('swap = "64MiB"', "swap = -4096", r"vm\[0\].swap"),
        ('swap = "64MiB"', 'swap = "8MiB"', r"size: 83886080; accepted is at most the VM's memory and its"),
        ('disk = "32MiB"', 'disk = "5000"', r"vm\[0\].disk: 5000; accepted is a positive multiple of 4 KiB"),
        ('disk = "32MiB"', 'reservation = "65MiB"', r"vm\[0\].reservation: .*up to the VM's memory"),
        ('disk = "32MiB"', 'limit = "32MiB"', r"vm\[0\].limit: .*accepted with a swap of the host"),
        ('disk = "32MiB"', 'reclaim = "magic"', r'vm\[0\].reclaim: .magic.; accepted is "swap", "none"'),
        ('disk = "32MiB"', 'reclaim = "scan"\nmmu = "native"', r"vm\[0\].reclaim: .*with a hypervisor"),
        ('disk = "32MiB"', 'reclaim = "balloon"\nballoon = false', r"vm\[0\].reclaim: .*with a balloon"),
        ('disk = "32MiB"', "shares = 0", r"vm\[0\].shares: 0; accepted is a number from 1 to 1,000,000"),
        ("[run]", HOST_PROCESS.format('memory = "128MiB"'), r"host_process\[0\].memory: .*less than the"),
        ("[run]", HOST_PROCESS.format("memory = 0"), r"host_process\[0\].memory"),
        ("[run]", HOST_PROCESS.format("memory = 4096\nend = 0"), r"\[0\].end: 0; accepted is a time after"),
        (
            "[run]",
            HOST_PROCESS.format("memory = 4096").replace("[run]", HOST_PROCESS.format("memory = 4096")),
            r"host_process\[1\].name: 'b'; accepted is a name that no other",
        ),
        (SWEEP, SCAN.format("33MiB"), r"vm\[0\].disk: .*at least what its programs scan"),
        (SWEEP, SCAN.format("16MiB") + ", step = 3", r"step: 3; accepted is a positive multiple of 8"),
    ],
)
def test_impossible_keys_say_what_is_accepted(old, new, message):
    with pytest.raises(ConfigError, match=message):
        Scenario.parse(SMALL.replace(old, new))


def test_host_processes_need_time():
    text = SMALL.replace("[run]", HOST_PROCESS.format("memory = 4096")).replace('duration = "200ms"', "")
    with pytest.raises(ConfigError, match=r"host_process\[0\]: accepted in a run over time only"):
        Scenario.parse(text)
