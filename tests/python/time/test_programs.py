"""Programs over time: equal to what calls do, equal each time, and what goes wrong stays where it is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vmem
from vmem.traces import Item, MapEvent, References, Totals

MODES = ("native", "nested", "shadow", "software-tlb")
WORKLOADS: list[tuple[str, dict[str, Any]]] = [
    ("zipf", {"size": "16MiB", "writes": 0.3}),
    ("uniform", {"size": "16MiB", "writes": 0.3}),
    ("hot-cold", {"size": "16MiB", "hot": "1MiB", "phase": 20_000}),
    ("pointer-chase", {"size": "16MiB"}),
    ("random-update", {"size": "16MiB"}),
]


def _host(**keys: Any) -> vmem.Hypervisor:
    return vmem.Hypervisor("1GiB", **keys)


@pytest.mark.parametrize("mmu", MODES)
@pytest.mark.parametrize(("kind", "keys"), WORKLOADS)
def test_a_workload_does_what_its_references_do(mmu: str, kind: str, keys: dict[str, Any]) -> None:
    """One by one through `access`, or over time in many slices: every counter is the same."""
    workload = vmem.workload(kind, references=100_000, **keys)
    by_calls = _host().create_vm("vm", memory="64MiB", mmu=mmu)  # type: ignore[arg-type]
    process = by_calls.guest.spawn()
    heap = process.mmap(workload.size)  # type: ignore[attr-defined]
    items = list(workload.trace(heap.start, 7))  # type: ignore[attr-defined]
    for item in items:
        process.access(item.addresses, item.kinds)
    process.exit()
    host = vmem.Hypervisor("1GiB", quantum="100us")
    vm = host.create_vm("vm", memory="64MiB", mmu=mmu)  # type: ignore[arg-type]
    program = vm.guest.spawn().start(workload, seed=7)
    summary = host.run("1h")
    assert summary.ended == "programs" and program.ended and program.stopped is None
    assert vm.counters() == by_calls.counters()
    assert summary.vms["vm"].running == summary.elapsed
    assert host.now == 100_000 * 1000 + vm.counters()["cycles"] // 3


@pytest.mark.parametrize("mmu", MODES)
@pytest.mark.parametrize("name", ["sort", "sqlite"])
def test_a_trace_does_what_its_replay_does(mmu: str, name: str) -> None:
    trace = vmem.Trace.open(name)
    vm = _host().create_vm("vm", memory="64MiB", mmu=mmu)  # type: ignore[arg-type]
    process = vm.guest.spawn()
    process.load(trace)
    process.run(trace)
    process.exit()
    host = _host()
    other = host.create_vm("vm", memory="64MiB", mmu=mmu)  # type: ignore[arg-type]
    program = other.guest.spawn().start(trace, compute=0)
    host.run("1h")
    assert program.references == trace.references and program.segfaults == 0
    # Long runs are cut by the quantum, which moves a few of their first references.
    for counter, value in vm.counters().items():
        assert other.counters()[counter] == pytest.approx(value, rel=0.002, abs=50), counter


def _everything(seed: int, quantum: str = "3ms", cpus: int | None = 2) -> str:
    host = _host(seed=seed, cpus=cpus, quantum=quantum)
    for i in range(3):
        vm = host.create_vm(f"vm{i}", memory="64MiB")
        vm.guest.spawn().start(vmem.workload("zipf", size="32MiB", writes=0.2, references=40_000, seed=seed))
        vm.guest.spawn().start(vmem.workload("fork-churn", size="1MiB", children=20, references=500))
        curve = [["0s", "1MiB", "1MiB"], ["20ms", "8MiB", "2MiB"], ["40ms", "0", "0"]]
        vm.guest.spawn().start(vmem.workload("demand", curve=curve, seed=seed))
    summary = host.run("100ms")
    host.check()
    return json.dumps([vars(time) for time in summary.vms.values()] + [vm.counters() for vm in host])


def test_equal_seeds_give_equal_runs() -> None:
    assert _everything(1) == _everything(1)
    assert _everything(1) != _everything(2)


def test_two_on_one_cpu_have_half_the_progress() -> None:
    alone = _host()
    alone.create_vm("a", memory="64MiB").guest.spawn().start(vmem.workload("zipf", size="16MiB"), seed=1)
    free = alone.run("1s").vms["a"].references
    host = _host(cpus=1)
    for name in "ab":
        host.create_vm(name, memory="64MiB").guest.spawn().start(vmem.workload("zipf", size="16MiB"), seed=1)
    for time in host.run("1s").vms.values():
        assert free / time.references == pytest.approx(2, rel=0.02)
        assert time.runnable == pytest.approx(500e6, rel=0.02)


def test_a_vcpu_that_waits_for_the_hosts_swap_leaves_its_cpu() -> None:
    """Of two on one CPU, one waits 100 us for each of its pages: the other one has the CPU meanwhile."""
    host = _host(cpus=1, swap="64MiB", swap_read_time="100us")
    waiter, other = (host.create_vm(name, memory="32MiB") for name in ("waiter", "other"))
    process = waiter.guest.spawn()
    heap = process.mmap("1MiB")
    process.write(heap.start, bytes(range(256)) * 4096)
    pages = np.arange(heap.start, heap.end, 4096, dtype=np.uint64)
    swapped = [waiter.swap_out(4096 * gfn) for gfn in range(8192)]
    assert sum(swapped) >= len(pages)
    before = waiter.counters()["faults.host_swap_in"]
    program = process.start((pages, np.zeros(len(pages), np.uint8)), compute=0)
    other.guest.spawn().start(vmem.workload("uniform", size="64KiB", references=10**9))
    times = host.run("2s").vms
    came_back = waiter.counters()["faults.host_swap_in"] - before
    assert program.ended and program.references == 256 and came_back >= 256
    assert times["waiter"].waiting == came_back * 100_000
    # The other one has the CPU but for what the waiter's faults cost it.
    assert times["other"].running == pytest.approx(2e9 - times["waiter"].running, abs=1e6)
    # After each wait the waiter queues behind a quantum of 3 ms: some of it is gone by then.
    assert came_back * 2e6 < times["waiter"].runnable < came_back * 3e6
    host.check()


def test_a_demand_curve_is_followed() -> None:
    host = _host()
    vm = host.create_vm("vm", memory="64MiB")
    curve = [["0s", "4MiB", "1MiB"], ["1s", "32MiB", "8MiB"], ["2s", "2MiB", 0], ["3s", 0, 0]]
    process = vm.guest.spawn()
    process.start(vmem.workload("demand", curve=curve))
    seen, resident = [], []
    for _ in range(4):
        time = host.run("990ms").vms["vm"]
        seen.append(process.resident >> 20)
        resident.append(vm.resident >> 20)
        host.run("10ms")
    assert seen == [4, 32, 2, 0]
    assert resident[1] >= 32 and resident[3] == resident[1]  # freed in the guest, not to the host
    assert time.running < 10**6  # nothing active: it sleeps


def test_churn_leaves_nothing_behind() -> None:
    host = _host()
    vm = host.create_vm("vm", memory="16MiB")
    program = vm.guest.spawn().start(vmem.workload("fork-churn", size="1MiB", children=50, references=300))
    assert host.run("10s").ended == "programs"
    assert program.references == 256 + 50 * 300
    assert vm.guest.free == vm.guest.meminfo()["MemTotal"]
    assert vm.counters()["faults.guest_page_fault"] > 256 + 50 * 100
    host.check()


def test_what_runs_out_of_memory_is_stopped_and_the_rest_goes_on() -> None:
    host = vmem.Hypervisor("24MiB")
    small = host.create_vm("small", memory="4MiB").guest.spawn()
    first = small.start(vmem.workload("uniform", size="8MiB"))
    greedy = host.create_vm("greedy", memory="64MiB").guest.spawn()
    second = greedy.start(vmem.workload("sequential", size="60MiB", writes=1.0))
    modest = host.create_vm("modest", memory="4MiB").guest.spawn()
    third = modest.start(vmem.workload("uniform", size="256KiB", references=50_000))
    host.run("100s")
    assert third.ended and third.stopped is None
    assert first.stopped == "its guest is out of memory"
    assert second.stopped is not None and "host" in second.stopped
    host.check()


@pytest.mark.parametrize(
    ("kind", "keys", "word"),
    [
        ("nosuch", {}, "zipf"),
        ("zipf", {}, "size"),
        ("zipf", {"size": 100}, "4 KiB"),
        ("hot-cold", {"size": "1MiB", "hot": "2MiB"}, "hot"),
        ("zipf", {"size": "1MiB", "compute": "2h"}, "hour"),
        ("zipf", {"size": "1MiB", "compute": "soon"}, "duration"),
        ("demand", {"curve": []}, "row"),
        ("demand", {"curve": [["1s", 0, 0]]}, "time 0"),
        ("demand", {"curve": [[0, 0, 0], [0, 0, 0]]}, "after"),
        ("demand", {"curve": [[0, "1MiB", "2MiB"]]}, "no more active"),
        ("demand", {"curve": [[0, 1]]}, "row of three"),
        ("demand", {"curve": "no.csv"}, "no.csv"),
        ("demand", {"curve": 7}, "CSV"),
    ],
)
def test_workloads_that_cannot_be(kind: str, keys: dict[str, Any], word: str) -> None:
    with pytest.raises(vmem.ConfigError, match=word):
        vmem.workload(kind, **keys)


def test_a_curve_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "curve.csv"
    file.write_text("time,allocated,active\n0,4096,0\n1s,2MiB,1MiB\n")
    assert vmem.workload("demand", curve=str(file)).curve == (  # type: ignore[attr-defined]
        (0, 4096, 0),
        (10**9, 2 << 20, 1 << 20),
    )
    file.write_text("a,b\n1,2\n")
    with pytest.raises(vmem.ConfigError, match="time,allocated,active"):
        vmem.workload("demand", curve=str(file))
    file.write_text("time,allocated,active\n0,4096,0\nx,2MiB,1MiB\n")
    with pytest.raises(vmem.ConfigError, match="line 3"):
        vmem.workload("demand", curve=str(file))


@pytest.mark.parametrize(
    ("keys", "word"), [({"cpus": 0}, "cpus"), ({"quantum": "1ns"}, "quantum"), ({"quantum": "2s"}, "quantum")]
)
def test_hosts_that_cannot_be(keys: dict[str, Any], word: str) -> None:
    with pytest.raises(vmem.ConfigError, match=word):
        _host(**keys)


def test_a_damaged_trace_is_an_error_of_the_run(tmp_path: Path) -> None:
    from vmem.traces import shipped

    whole = shipped()["sort"].read_bytes()
    damaged = tmp_path / "damaged.vmt"
    damaged.write_bytes(whole[: len(whole) // 2] + bytes(200) + whole[len(whole) // 2 + 200 :])
    host = _host()
    process = host.create_vm("vm", memory="64MiB").guest.spawn()
    process.start(vmem.Trace.open(damaged), compute=0)
    with pytest.raises(vmem.TraceError, match="damaged"):
        host.run("10s")
    host.check()


class _Recorded:
    """A reader of two blocks of references, with a mapping between them that no kernel accepts."""

    format, compact = "arrays", False

    def items(self, progress: object) -> Iterator[Item]:
        block = References(np.full(700, 1 << 36, np.uint64), np.ones(700, np.uint8))
        yield MapEvent("mmap", 1 << 36, 4096, "rw")
        yield block
        yield MapEvent("mmap", 1 << 50, 4096, "rw")
        yield block

    def totals(self) -> Totals:
        return Totals()

    def details(self) -> dict[str, str]:
        return {}


def test_a_call_that_is_refused_repeats_no_reference() -> None:
    """The run that goes on after it makes what was left, and nothing twice."""
    host = _host()
    vm = host.create_vm("vm", memory="64MiB")
    program = vm.guest.spawn().start(vmem.Trace(_Recorded(), "recorded"))
    with pytest.raises(vmem.ConfigError, match="0x4000000000000"):
        host.run("1s")
    assert program.references == 700
    assert host.run("1s").ended == "programs"
    assert program.references == vm.counters()["stores"] == 1400 and program.segfaults == 0


INTERRUPTED = """
import vmem
host = vmem.Hypervisor("1GiB")
process = host.create_vm("vm", memory="512MiB").guest.spawn()
workload = vmem.workload("zipf", size="256MiB", references=10**15, compute={compute})
program = process.start(workload)
said = []
def progress(done):
    if done and not said:
        said.append(print("working", flush=True))
try:
    host.run("10000h", progress=progress)
except KeyboardInterrupt:
    print("interrupted", program.references > 0)
    host.run("1ms")
    host.check()
"""


@pytest.mark.parametrize("compute", [0, 1000])
def test_a_run_can_be_interrupted(compute: int) -> None:
    command = [sys.executable, "-c", INTERRUPTED.format(compute=compute)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "working\n"
            child.send_signal(signal.SIGINT)
            output, _ = child.communicate(timeout=60)
        finally:
            child.kill()
    assert (child.returncode, output) == (0, "interrupted True\n")


def test_callbacks_may_look_but_not_run() -> None:
    host = _host()
    process = host.create_vm("vm", memory="64MiB").guest.spawn()
    program = process.start(vmem.workload("zipf", size="32MiB", references=30_000_000, compute=0))
    seen: list[int] = []

    def progress(done: int) -> None:
        seen.append(program.references)
        with pytest.raises(vmem.ConfigError, match="in the middle"):
            host.run("1s")

    host.run("100s", progress=progress)
    assert seen == sorted(seen)
    assert np.all(np.diff(seen) > 0)
