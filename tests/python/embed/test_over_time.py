"""Programs over time through the C interface do what they do in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import vmem
from vmem.scenario.workloads import Workload

from .chost import CHost, assert_alike

pytest.importorskip("cffi")
MIB = 1 << 20
MS = 10**6
CURVE = [(0, 4 * MIB, MIB), (30 * MS, 24 * MIB, 12 * MIB), (80 * MS, 2 * MIB, 0)]
WORKLOADS: dict[str, dict[str, Any]] = {
    "uniform": {"bytes": 8 * MIB, "references": 50_000, "writes": 0.3, "burst": 4},
    "zipf": {"bytes": 16 * MIB, "skew": 0.8, "writes": 0.25, "references": 60_000},
    "sequential": {"bytes": 4 * MIB, "references": 40_000},
    "stride": {"bytes": 8 * MIB, "step": 4160, "references": 30_000, "writes": 1.0},
    "hot-cold": {"bytes": 8 * MIB, "hot": MIB, "hot_share": 0.75, "phase": 10_000, "references": 40_000},
    "pointer-chase": {"bytes": 8 * MIB, "references": 40_000, "no_compute": 1},
    "random-update": {"bytes": 8 * MIB, "references": 40_000, "compute_ns": 300},
    "fork-churn": {"bytes": MIB, "children": 20, "references": 1000, "writes": 0.5},
    "demand": {"curve": CURVE, "writes": 0.5},
    "file-scan": {"bytes": 4 * MIB, "references": 30_000, "step": 1024, "writes": 0.1},
}
USUAL = {
    "zipf": {"bytes": 4 * MIB},
    "stride": {"bytes": 4 * MIB},
    "hot-cold": {"bytes": 4 * MIB, "hot": MIB},
    "fork-churn": {"bytes": MIB},
    "file-scan": {"bytes": 4 * MIB},
}


def hosts() -> tuple[CHost, int, vmem.Hypervisor, vmem.Vm]:
    """One of each interface, with a VM of two vCPUs that has not got all the memory it needs."""
    c = CHost(memory=96 * MIB, swap=64 * MIB, cpus=1, quantum_ns=2 * MS)
    vm = c.create_vm(memory=64 * MIB, vcpus=2, disk=32 * MIB, swap=16 * MIB)
    hv = vmem.Hypervisor("96MiB", swap="64MiB", cpus=1, quantum="2ms")
    return c, vm, hv, hv.create_vm("vm", memory="64MiB", vcpus=2, disk="32MiB", swap="16MiB")


def in_c(c: CHost, kind: str, members: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    if "curve" in members:
        rows = c.ffi.new("vmem_demand_point[]", [tuple(row) for row in members["curve"]])
        members = {**members, "curve": rows, "points": len(rows)}
    return list(WORKLOADS).index(kind), members


def in_python(kind: str, members: dict[str, Any]) -> Workload:
    keys = {"writes": 0.0, **members}
    if kind == "random-update":
        del keys["writes"]
    for c_name, name in (("bytes", "size"), ("hot_share", "share"), ("compute_ns", "compute")):
        if c_name in keys:
            keys[name] = keys.pop(c_name)
    if keys.pop("no_compute", 0):
        keys["compute"] = 0
    return vmem.workload(kind, **keys)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_does_what_it_does_in_python(installed: Path, kind: str) -> None:
    c, vm, hv, twin = hosts()
    process, of_twin = c.spawn(vm), twin.guest.spawn("app", vcpu=1)
    number, members = in_c(c, kind, WORKLOADS[kind])
    program = c.start(vm, process, number, vcpu=1, **members)
    started = of_twin.start(in_python(kind, WORKLOADS[kind]))
    for _ in range(3):
        assert c.run(40 * MS) == hv.run(40 * MS).ended
        assert_alike(c, vm, program, twin, started)
        assert c.now == hv.now
    assert started.references > 10_000


@pytest.mark.parametrize("kind", USUAL)
def test_what_is_0_is_python_s_default(installed: Path, kind: str) -> None:
    c, vm, hv, twin = hosts()
    process, of_twin = c.spawn(vm), twin.guest.spawn("app")
    program = c.start(vm, process, in_c(c, kind, {})[0], **USUAL[kind])
    started = of_twin.start(in_python(kind, USUAL[kind]))
    assert c.run(100 * MS) == hv.run(100 * MS).ended == "time"
    assert_alike(c, vm, program, twin, started)


def test_seed_times_limit_and_page(installed: Path) -> None:
    c, vm, hv, twin = hosts()
    process, of_twin = c.spawn(vm), twin.guest.spawn("app")
    members = {"bytes": 8 * MIB, "references": 20_000, "seed": 7, "times": 4, "limit": 50_000, "page": 1}
    program = c.start(vm, process, c.lib.VMEM_WORKLOAD_UNIFORM, **members)
    started = of_twin.start(
        vmem.workload("uniform", size=8 * MIB, references=20_000), seed=7, runs=4, limit=50_000, page="2MiB"
    )
    assert c.run(10**9) == hv.run(10**9).ended == "programs"
    state = assert_alike(c, vm, program, twin, started)
    assert (state.times, state.references, state.ended) == (3, 50_000, 1)


def test_several_programs_share_a_cpu_and_a_run_has_a_goal(installed: Path) -> None:
    c, vm, hv, twin = hosts()
    programs, started = [], []
    for vcpu in (0, 1, 1):
        process, of_twin = c.spawn(vm), twin.guest.spawn("app", vcpu=vcpu)
        programs.append(c.start(vm, process, c.lib.VMEM_WORKLOAD_ZIPF, vcpu=vcpu, bytes=20 * MIB, writes=0.5))
        started.append(of_twin.start(vmem.workload("zipf", size="20MiB", writes=0.5)))
    assert c.run(10**10, 90_000) == hv.run("10s", references=90_000).ended == "references"
    for program, of_python in zip(programs, started, strict=True):
        assert_alike(c, vm, program, twin, of_python)
    assert twin.time().runnable > 0 and twin.time().waiting > 0


def test_a_paused_vm_stands_still(installed: Path) -> None:
    c, vm, hv, twin = hosts()
    program = c.start(vm, c.spawn(vm), c.lib.VMEM_WORKLOAD_UNIFORM, bytes=4 * MIB)
    started = twin.guest.spawn("app").start(vmem.workload("uniform", size="4MiB"))
    for paused in (True, False):
        c.check(c.lib.vmem_vm_set_paused(c.host, vm, paused))
        twin.paused = paused
        assert c.run(20 * MS) == hv.run("20ms").ended == "time"
        state = assert_alike(c, vm, program, twin, started)
        assert (state.references == 0) == paused
        assert c.told("vmem_vm_time", "vmem_vm_get_time", vm).paused == paused


def test_what_stops_a_program_is_told_as_it_happens(installed: Path) -> None:
    """Its guest has no memory left: the event comes while the others run on, and the state says why."""
    c = CHost(memory=128 * MIB)
    vm = c.create_vm(memory=32 * MIB)
    hv = vmem.Hypervisor("128MiB")
    twin = hv.create_vm("vm", memory="32MiB")
    told: list[tuple[int, str, int]] = []

    @c.ffi.callback("vmem_event_fn", error=1)
    def on_event(user: object, host: object, event: Any) -> int:
        told.append((event.at, c.ffi.string(event.kind).decode(), c.now))
        return 0

    c.check(c.lib.vmem_host_on_event(c.host, on_event, c.ffi.NULL))
    programs, started = [], []
    for size in (64 * MIB, MIB):
        programs.append(c.start(vm, c.spawn(vm), c.lib.VMEM_WORKLOAD_SEQUENTIAL, bytes=size, no_compute=1))
        workload = vmem.workload("sequential", size=size, compute=0)
        started.append(twin.guest.spawn("app").start(workload))
    assert c.run(400 * MS) == hv.run(400 * MS).ended
    states = [
        assert_alike(c, vm, program, twin, of_twin)
        for program, of_twin in zip(programs, started, strict=True)
    ]
    assert c.ffi.string(states[0].stopped) == b"its guest is out of memory"
    assert states[1].stopped == c.ffi.NULL and states[1].references > 1000
    assert [(at, kind) for at, kind, _ in told] == [(event.at, event.kind) for event in hv.events()]
    killed = [(at, now) for at, kind, now in told if kind == "oom_kill"]
    assert killed and all(at <= now + 3 * MS and now < c.now for at, now in killed)
