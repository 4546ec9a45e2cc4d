"""What the C interface refuses of programs over time: a status and a sentence for everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vmem

from .chost import CHost

pytest.importorskip("cffi")
MIB = 1 << 20
NAN = float("nan")


@pytest.fixture
def c(installed: Path) -> CHost:
    return CHost(memory=128 * MIB)


@pytest.fixture
def vm(c: CHost) -> int:
    return c.create_vm(memory=64 * MIB, vcpus=2, disk=32 * MIB)


@pytest.fixture
def process(c: CHost, vm: int) -> int:
    return c.spawn(vm)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"kind": 10}, "kind is 10"),
        ({"kind": 2**32 - 1}, "kind is 4294967295"),
        ({"bytes": 0}, "a workload of 0 bytes"),
        ({"bytes": 4097}, "a workload of 4097 bytes"),
        ({"bytes": 2**46 + 4096}, "at most 64 TiB"),
        ({"writes": 1.01}, "writes is 1.01.*accepted is 0 to 1"),
        ({"writes": NAN}, "writes is -?nan"),
        ({"writes": -0.5}, "writes is -0.5"),
        ({"burst": 513}, "a burst of 513"),
        ({"times": 1_000_001}, "times is 1000001"),
        ({"compute_ns": 3600 * 10**9 + 1}, "compute_ns is 3600000000001; accepted is up to an hour"),
        ({"compute_ns": 5, "no_compute": 1}, "compute_ns is 5 with no_compute"),
        ({"page": 3}, "page is 3"),
        ({"reserved": 1}, "reserved is 1"),
        ({"kind": 1, "skew": 8.5}, "a skew of 8.5"),
        ({"kind": 1, "skew": -1.0}, "a skew of -1.0"),
        ({"kind": 1, "skew": NAN}, "a skew of -?nan"),
        ({"kind": 3, "step": MIB}, "a step of 1048576 bytes"),
        ({"kind": 4}, "a hot part of 0 bytes"),
        ({"kind": 4, "hot": 2 * MIB}, "a hot part of 2097152 bytes"),
        ({"kind": 4, "hot": 4096, "hot_share": 2.0}, "hot_share is 2.0"),
        ({"kind": 7, "children": 2**40, "references": 2**40}, r"accepted are 2\*\*63 references"),
        ({"kind": 8, "bytes": 0}, "accepted is one that begins at 0"),
        ({"kind": 8, "bytes": 0, "points": 1}, "curve is NULL"),
        ({"kind": 8, "bytes": 0, "points": 2**63}, "curve: 9223372036854775808 elements"),
        ({"kind": 9, "step": 12}, "step is 12; accepted is a multiple of 8"),
        ({"kind": 9, "file": 77}, "file"),
        ({"kind": 9, "bytes": 2**40}, "disk|free"),
        ({"kind": 9, "page": 1}, "page is of other workloads than 'file-scan'"),
        # Members of other kinds.
        ({"skew": 0.5}, "skew is of other workloads than 'uniform'"),
        ({"kind": 2, "burst": 2}, "burst is of other workloads than 'sequential'"),
        ({"kind": 2, "step": 64}, "step is of other workloads"),
        ({"kind": 1, "hot": 4096}, "hot is of other workloads"),
        ({"kind": 1, "hot_share": NAN}, "hot_share is of other workloads"),
        ({"kind": 3, "phase": 1}, "phase is of other workloads"),
        ({"kind": 5, "children": 1}, "children is of other workloads"),
        ({"kind": 5, "points": 1}, "points is of other workloads"),
        ({"kind": 6, "writes": 0.5}, "writes is of other workloads than 'random-update'"),
        ({"kind": 7, "file": 1}, "file is of other workloads"),
        ({"kind": 8, "bytes": 4096}, "bytes is of other workloads than 'demand'"),
        ({"kind": 8, "bytes": 0, "references": 1}, "references is of other workloads"),
    ],
)
def test_workloads(c: CHost, vm: int, process: int, members: dict[str, Any], message: str) -> None:
    with pytest.raises(vmem.VmemError, match=message):
        c.start(vm, process, **{"kind": 0, "bytes": MIB, **members})
    assert c.run(10**6) == "programs"  # nothing was started


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        ([(1, 4096, 0)], "begins at 0"),
        ([(0, 4096, 0), (0, 8192, 0)], "point 1: accepted are times that ascend"),
        ([(0, 4097, 0)], "point 0: accepted are multiples of 4 KiB"),
        ([(0, 4096, 8192)], "no more active than allocated"),
        ([(0, 2**46 + 4096, 0)], "point 0 of the curve"),
        ([(0, 0, 0), (2**63, 4096, 0)], "point 1 of the curve"),
    ],
)
def test_curves(c: CHost, vm: int, process: int, curve: list[tuple[int, int, int]], message: str) -> None:
    rows = c.ffi.new("vmem_demand_point[]", curve)
    with pytest.raises(vmem.ConfigError, match=message):
        c.start(vm, process, c.lib.VMEM_WORKLOAD_DEMAND, curve=rows, points=len(rows))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"run_count": 1}, "runs is NULL"),
        ({"run_count": 2**41}, "runs: 2199023255552 elements"),
        ({"area_count": 1}, "areas is NULL"),
        ({"times": 2_000_000}, "times is 2000000"),
        ({"compute_ns": 2**63}, "compute_ns is 9223372036854775808"),
        ({"no_compute": 1, "compute_ns": 1}, "compute_ns is 1 with no_compute"),
        ({"page": 9}, "page is 9"),
    ],
)
def test_traces(c: CHost, vm: int, process: int, members: dict[str, Any], message: str) -> None:
    with pytest.raises(vmem.ConfigError, match=message):
        c.start_trace(vm, process, **members)


def test_runs_and_areas(c: CHost, vm: int, process: int) -> None:
    runs = c.ffi.new("vmem_run[]", [(4096, 1, 0), (4096, 1, 1)])
    with pytest.raises(vmem.ConfigError, match="run 1: its kind and its counts"):
        c.start_trace(vm, process, runs=runs, run_count=2)
    next_item = c.ffi.callback("vmem_trace_fn", lambda *_: 0)
    with pytest.raises(vmem.ConfigError, match="runs and of a function"):
        c.start_trace(vm, process, runs=runs, run_count=1, next=next_item)
    for area, message in (
        ((4095, 4096, 3, 0), "area 0: 4096 bytes at 4095"),
        ((4096, 0, 3, 0), "area 0: 0 bytes"),
        ((2**64 - 4096, 8192, 3, 0), "area 0: 8192 bytes at"),
        ((65536, 4096, 8, 0), "protection is 8"),
        ((65536, 4096, 3, 1), "area 0: reserved is 1"),
    ):
        areas = c.ffi.new("vmem_trace_area[]", [area])
        with pytest.raises(vmem.ConfigError, match=message):
            c.start_trace(vm, process, areas=areas, area_count=1)


@pytest.mark.parametrize("kind", ["workload", "trace"])
def test_sizes_of_structures(c: CHost, vm: int, process: int, kind: str) -> None:
    function = c.lib.vmem_process_start if kind == "workload" else c.lib.vmem_process_start_trace
    size = c.ffi.sizeof(f"vmem_{kind}")
    room = c.ffi.new("unsigned char[]", 5000)
    given = c.ffi.cast(f"vmem_{kind} *", room)
    if kind == "workload":
        given.bytes = MIB
    for wrong in (0, 4, size - 1, 4097, 2**32 - 1):
        given.size = wrong
        assert function(c.host, vm, 0, process, given, c.ffi.NULL) == c.lib.VMEM_E_STRUCTURE
        assert f"{kind}->size is {wrong}".encode() in c.ffi.string(c.lib.vmem_last_error())
    given.size = size + 8
    room[size] = 1  # a member that this library does not know
    assert function(c.host, vm, 0, process, given, c.ffi.NULL) == c.lib.VMEM_E_STRUCTURE
    room[size] = 0
    c.check(function(c.host, vm, 0, process, given, c.ffi.NULL))
    assert function(c.host, vm, 0, process, c.ffi.NULL, c.ffi.NULL) == c.lib.VMEM_E_ARGUMENT


@pytest.mark.parametrize(
    ("kind", "function"),
    [("vmem_program_state", "vmem_program_get_state"), ("vmem_vm_time", "vmem_vm_get_time")],
)
def test_sizes_of_answers(c: CHost, vm: int, process: int, kind: str, function: str) -> None:
    program = c.start(vm, process, 0, bytes=MIB)
    number = program if kind == "vmem_program_state" else vm
    ask = getattr(c.lib, function)
    room = c.ffi.new("unsigned char[]", 512)
    size = c.ffi.sizeof(kind)
    answer = c.ffi.cast(f"{kind} *", room)
    for wrong in (0, size - 1):
        answer.size = wrong
        assert ask(c.host, number, answer) == c.lib.VMEM_E_STRUCTURE
    answer.size = 512
    room[size] = 77
    c.check(ask(c.host, number, answer))
    assert room[size] == 77 and answer.size == 512
    assert ask(c.host, number, c.ffi.NULL) == c.lib.VMEM_E_ARGUMENT


def test_numbers_that_name_nothing(c: CHost, vm: int, process: int) -> None:
    lib, null = c.lib, c.ffi.NULL
    workload = c.structure("vmem_workload", bytes=MIB)
    trace = c.structure("vmem_trace")
    state, time = c.structure("vmem_program_state"), c.structure("vmem_vm_time")
    count = c.ffi.new("uint64_t *")
    starts: list[Callable[..., int]] = [
        lambda *where: lib.vmem_process_start(*where, workload, null),
        lambda *where: lib.vmem_process_start_trace(*where, trace, null),
        lambda *where: lib.vmem_process_madvise(*where, 65536, 4096, 0),
        lambda *where: lib.vmem_process_brk(*where, 0, count),
    ]
    for call in starts:
        assert call(null, vm, 0, process) == lib.VMEM_E_HANDLE
        assert call(c.host, vm + 1, 0, process) == lib.VMEM_E_HANDLE
        assert call(c.host, vm, 0, process + 1) == lib.VMEM_E_HANDLE
        assert call(c.host, vm, 2, process) == lib.VMEM_E_ARGUMENT
    for call in (lib.vmem_vm_swap_out, lib.vmem_vm_split, lib.vmem_vm_collapse):
        assert call(c.host, vm + 1, 0, null) == call(null, vm, 0, null) == lib.VMEM_E_HANDLE
    assert lib.vmem_vm_get_time(c.host, 7, time) == lib.VMEM_E_HANDLE
    assert lib.vmem_vm_set_paused(c.host, 7, 1) == lib.VMEM_E_HANDLE
    assert lib.vmem_program_get_state(c.host, 0, state) == lib.VMEM_E_HANDLE
    program = c.start(vm, process, 0, bytes=MIB)
    c.run(10**6)
    c.check(lib.vmem_program_get_state(c.host, program, state))
    assert lib.vmem_program_costs(c.host, program, null, null, 1, count) == lib.VMEM_E_ARGUMENT
    assert lib.vmem_program_costs(c.host, program, null, null, 0, null) == lib.VMEM_E_ARGUMENT
    c.check(lib.vmem_vm_destroy(c.host, vm))
    with pytest.raises(vmem.ConfigError, match=f"program {program}: this host has none"):
        c.check(lib.vmem_program_get_state(c.host, program, state))
    assert lib.vmem_program_costs(c.host, program, null, null, 0, count) == lib.VMEM_E_HANDLE


def test_calls_that_are_no_calls(c: CHost, vm: int, process: int) -> None:
    lib, null = c.lib, c.ffi.NULL
    for arguments, message in (
        ((65536, 4096, 3), "advice is 3"),
        ((65536, 4096, 0), "madvise"),
        ((1, 4096, 0), "madvise"),
        ((65536, 2**64 - 1, 1), "madvise"),
    ):
        with pytest.raises(vmem.ConfigError, match=message):
            c.check(lib.vmem_process_madvise(c.host, vm, 0, process, *arguments))
    assert lib.vmem_process_brk(c.host, vm, 0, process, 0, null) == lib.VMEM_E_ARGUMENT
    with pytest.raises(vmem.ConfigError, match=r"18446744073709551615 ns: the clock shows .* ns"):
        c.run(2**64 - 1)


def test_the_host_s_cpus_and_quantum(installed: Path) -> None:
    for members, message in (
        ({"cpus": 1_000_001}, "cpus is 1000001"),
        ({"quantum_ns": 999}, "quantum_ns is 999"),
        ({"quantum_ns": 10**9 + 1}, "quantum_ns is 1000000001"),
        ({"reserved": 1}, "reserved is 1"),
    ):
        with pytest.raises(vmem.ConfigError, match=message):
            CHost(memory=64 * MIB, **members)


def test_callbacks_end_a_run_and_start_nothing(c: CHost, vm: int, process: int) -> None:
    lib, null = c.lib, c.ffi.NULL
    workload = c.structure("vmem_workload", bytes=MIB)
    calls: list[int] = []

    @c.ffi.callback("vmem_policy_fn", error=1)
    def policy(user: object, host: Any, now: int) -> int:
        calls.append(lib.vmem_host_run(host, 1, 0, null))
        calls.append(lib.vmem_process_start(host, vm, 0, process, workload, null))
        calls.append(lib.vmem_vm_set_paused(host, vm, 1))
        time = c.structure("vmem_vm_time")
        c.check(lib.vmem_vm_get_time(host, vm, time))
        calls.append(time.references)
        return 1

    c.start(vm, process, 0, bytes=MIB)
    c.check(lib.vmem_host_set_policy(c.host, 10**6, policy, null))
    assert lib.vmem_host_run(c.host, 10**9, 0, null) == lib.VMEM_E_CALLBACK
    assert calls[:3] == [lib.VMEM_E_BUSY] * 3 and calls[3] > 0 and len(calls) == 4
    assert 10**6 <= c.now < 2 * 10**6
    c.check(lib.vmem_host_set_policy(c.host, 0, null, null))
    assert c.run(10**6) == "time"


def test_a_file_that_goes_before_it_is_scanned(c: CHost, vm: int, process: int) -> None:
    file = c.ask("uint32_t", "vmem_file_create", vm, b"data", MIB)
    members = {"bytes": MIB, "file": file, "references": 1000}
    with pytest.raises(vmem.ConfigError, match=r"file-scan"):
        c.start(vm, process, 9, **{**members, "bytes": 2 * MIB})
    program = c.start(vm, process, 9, **members)
    c.check(c.lib.vmem_file_unlink(c.host, vm, 0, file))
    for _ in range(2):
        with pytest.raises(vmem.ConfigError, match="file"):
            c.run(10**6)
    c.check(c.lib.vmem_process_exit(c.host, vm, 0, process))
    assert c.run(10**6) == "programs"
    state = c.told("vmem_program_state", "vmem_program_get_state", program)
    assert state.ended and c.ffi.string(state.stopped) == b"its process has exited"


def test_a_file_of_the_caller_s_is_scanned(c: CHost, vm: int, process: int) -> None:
    file = c.ask("uint32_t", "vmem_file_create", vm, b"data", MIB)
    program = c.start(vm, process, 9, bytes=MIB, file=file, references=5000)
    assert c.run(10**10) == "programs"
    state = c.told("vmem_program_state", "vmem_program_get_state", program)
    assert (state.references, state.segfaults, state.stopped) == (5000, 0, c.ffi.NULL)
