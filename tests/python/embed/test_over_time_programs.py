"""Programs over time, from C++: the same calls in Python count the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

import vmem
from vmem.traces import RUN_DTYPE, Region

from .conftest import Build, figures
from .test_traces_over_time import Items


def in_python() -> dict[str, int]:
    cpu = vmem.Cpu.preset("zen3").replace(psc=None)
    host = vmem.Hypervisor("256MiB", swap="64MiB", cpu=cpu, cpus=1)
    vm = host.create_vm("vm", memory="64MiB")
    process = vm.guest.spawn("program")
    process.madvise(process.mmap("8MiB"), "hugepage")
    process.brk()
    program = process.start(vmem.workload("zipf", size="32MiB", references=100_000, writes=0.25))
    runs = np.zeros(20_000, RUN_DTYPE)
    numbers = np.arange(len(runs), dtype=np.uint64)
    runs["page"] = 0x10000000 + numbers * 7 % 1000 * 4096 + 1
    runs["loads"], runs["stores"] = 2, 3
    region: Region = (0x10000000, 4096 * 1000, "rw")
    replayed = vm.guest.spawn("replayed").start(vmem.Trace(Items([runs], region), "trace"))
    vm.paused = True
    host.run("1ms")
    vm.paused = False
    ends = ("time", "programs", "references")
    found = {"ended": ends.index(host.run("60s", references=120_000).ended)}
    for name in ("swapped_out", "split", "collapse"):
        found[name] = int(getattr(vm, name.replace("swapped", "swap"))(16 << 20))
    found["ended_then"] = ends.index(host.run("60s").ended)
    for number, of in enumerate((program, replayed)):
        found[f"references{number}"] = of.references
        found[f"progressed{number}"] = of.progressed_at
        found[f"costs{number}"] = sum(cost * count for cost, count in of.costs.items())
    time = vm.time()
    counters = {name: value for name, value in vm.counters().items() if not name.endswith("cycles")}
    found |= {"running": time.running, "waiting": time.waiting, "runnable": time.runnable}
    return {**found, "now": host.now, **counters}


def test_cpp_counts_what_python_counts(build: Build) -> None:
    program = build(Path(__file__).parent / "programs" / "over_time.cpp")
    counted = figures(subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout)
    assert (counted["ended"], counted["ended_then"]) == (2, 1)
    assert counted["references0"] == counted["references1"] == 100_000 and counted["swapped_out"] == 1
    assert counted == in_python()
