"""The discrete-event example: its queue by laws that hold for any queue, its MMUs by themselves."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "memory_bus.py"
bus_example = runpy.run_path(str(EXAMPLE))
simulate, BUS, WORK, MIB = (bus_example[name] for name in ("simulate", "BUS_NS", "WORK_NS", "MIB"))


@pytest.mark.parametrize("sizes", [[MIB], [MIB, 32 * MIB], [16 * MIB] * 4])
def test_time_is_accounted_for(sizes: list[int]) -> None:
    """Each processor's time is its work, its requests' service, and what they waited: nothing else."""
    loop, bus, processors = simulate(sizes, references=300)
    assert bus.requests == sum(cpu.walk_requests + 300 for cpu in processors)
    spent = sum(cpu.ended for cpu in processors)
    assert spent == len(sizes) * 300 * WORK + bus.requests * BUS + bus.waited
    assert bus.requests * BUS <= loop.now == max(cpu.ended for cpu in processors)
    assert (bus.waited == 0) == (len(sizes) == 1)


def test_the_bus_changes_when_and_not_what() -> None:
    """A processor's counters are those of its references in a row, whoever shares the bus."""
    together = simulate([8 * MIB, 32 * MIB], references=400)[2]
    for cpu in together:
        memory = bus_example["Memory"](256 * MIB)
        alone = bus_example["Processor"](None, None, memory, cpu.addresses)
        for address in cpu.addresses:
            alone._translate(address)
        assert alone.mmu.counters() == cpu.mmu.counters()
        assert alone.mmu.counters()["accesses"] >= 400 and alone.walk_requests == cpu.walk_requests > 400


def test_more_processors_wait_longer() -> None:
    waits = [simulate([32 * MIB] * count, references=200)[1] for count in (1, 2, 4)]
    each = [bus.waited / bus.requests for bus in waits]
    assert each[0] == 0 < each[1] < each[2]


def test_the_example_prints_its_table() -> None:
    printed = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, check=True
    ).stdout
    rows = printed.splitlines()
    assert len(rows) == 6
    busy = [float(row.split("%")[0].split()[-1]) for row in rows[1:]]
    assert busy[0] < busy[1] < busy[4] <= 100
