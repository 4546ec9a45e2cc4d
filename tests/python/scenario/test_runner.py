"""What a run does: turns, repetitions, placements, and equal results to the Python API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import vmem
from vmem import measures
from vmem.rows import Row
from vmem.runner import Result, Runner
from vmem.scenario import MODES, Scenario
from vmem.traces import RUN_DTYPE, MapEvent
from vmem.traces.vmt_writer import VmtWriter

HOST = '[host]\nmemory = "2GiB"\n'


UNIFORM = """[[vm.process]]
workload = {{ kind = "uniform", size = "{}", references = {} }}
"""
SORT = '[[vm.process]]\ntrace = "sort"\n'


def _table(name: str, *processes: str, memory: str = "64MiB", **keys: object) -> str:
    """A [[vm]] table with its processes."""
    lines = [f"{key} = {value!r}" for key, value in {"name": name, "memory": memory, **keys}.items()]
    return "\n".join(["[[vm]]", *lines, *processes, ""])


def _run(text: str) -> Result:
    return Runner(Scenario.parse(HOST + text)).run()


def _vm(result: Result, name: str) -> dict[str, Any]:
    return next(vm for vm in result.summary["vms"] if vm["name"] == name)


def _rows(result: Result, name: str) -> list[Row]:
    return [row for row in result.timeline if row.vm == name]


def test_same_numbers_as_the_python_api() -> None:
    """Turns change nothing for a VM whose processes share no vCPU, host memory being plentiful."""
    bfs = '[[vm.process]]\ntrace = "bfs"\n'
    result = _run("".join(_table(mmu, bfs, mmu=mmu) for mmu in MODES))
    for mmu in MODES:
        vm = vmem.Hypervisor("2GiB").create_vm("vm", memory="64MiB", mmu=mmu)
        process = vm.guest.spawn("bfs")
        trace = vmem.Trace.open("bfs")
        process.load(trace)
        process.run(trace)
        process.exit()
        # Which machine frames a VM gets depends on its neighbours, and so do a few second-stage references.
        for name in ("accesses", "l1i_hits", "l1d_hits", "l2_hits", "tlb_misses", "walk_refs_guest"):
            assert _vm(result, mmu)["counters"][name] == vm.counters()[name]


def test_turns() -> None:
    """In every step each process makes the same number of references, until it has no more."""
    first = _table("a", UNIFORM.format("1MiB", 10_000), UNIFORM.format("1MiB", 2_500))
    result = _run(first + _table("b", UNIFORM.format("1MiB", 4_000)) + "[run]\nsteps = 10\n")
    assert result.summary["references_per_step"] == 1000 and result.summary["steps"] == 10
    assert [row.references for row in _rows(result, "a")] == [0, 2000, 2000, 1500, *[1000] * 7]
    assert [row.references for row in _rows(result, "b")] == [0, *[1000] * 4, *[0] * 6]


@pytest.mark.parametrize(("steps", "references", "expected"), [(100, 7, 7), (3, 10, 3), (1, 1000, 1)])
def test_steps_follow_the_longest_process(steps: int, references: int, expected: int) -> None:
    result = _run(_table("a", UNIFORM.format("1MiB", references)) + f"[run]\nsteps = {steps}\n")
    assert result.summary["steps"] == expected


def test_repeat_runs_anew() -> None:
    """Each run is a process of its own, which gives its memory back to the guest but not to the host."""
    once, thrice = (_run(_table("a", f"{SORT}repeat = {repeat}")) for repeat in (1, 3))
    process = _vm(thrice, "a")["processes"][0]
    assert process["runs"] == 3 and process["ended"] == "finished"
    assert process["references"] == 3 * vmem.Trace.open("sort").references
    faults = [_vm(result, "a")["counters"]["faults.guest_page_fault"] for result in (once, thrice)]
    assert faults[1] == 3 * faults[0]
    backed = [_vm(result, "a")["counters"]["faults.backed_on_demand"] for result in (once, thrice)]
    assert backed[1] < 1.2 * backed[0]
    assert _vm(once, "a")["guest_used_bytes"] == 0 < _vm(once, "a")["resident_bytes"]


def test_limit_is_of_all_repetitions_together() -> None:
    length = vmem.Trace.open("sort").references
    result = _run(_table("a", f"{SORT}repeat = 5") + f"[run]\nlimit = {length + 1000}\n")
    process = _vm(result, "a")["processes"][0]
    assert (process["runs"], process["references"]) == (2, length + 1000)


def test_copies() -> None:
    result = _run(_table("w", UNIFORM.format("16MiB", 50_000), count=3))
    vms = result.summary["vms"]
    assert [vm["name"] for vm in vms] == ["w-1", "w-2", "w-3"]
    assert {vm["group"] for vm in vms} == {"w"}
    assert len({vm["counters"]["l1d_hits"] for vm in vms}) > 1


def test_equal_tables_make_equal_references() -> None:
    zipf = UNIFORM.format("16MiB", "50_000, writes = 0.5").replace("uniform", "zipf")
    result = _run("".join(_table(mmu, zipf, mmu=mmu) for mmu in MODES))
    assert len({_vm(result, mmu)["counters"]["stores"] for mmu in MODES}) == 1
    misses = {_vm(result, mmu)["counters"]["tlb_misses"] for mmu in ("native", "nested")}
    assert len(misses) == 1 and min(misses) > 0


def test_processes_are_placed_on_vcpus_in_turn() -> None:
    """Two processes on two vCPUs do not disturb each other's TLBs; on one they do."""
    program = UNIFORM.format("5MiB", 200_000)
    results = [_run(_table("a", program, program, vcpus=vcpus)) for vcpus in (1, 2)]
    misses = [_vm(result, "a")["counters"]["tlb_misses"] for result in results]
    assert misses[0] > 2 * misses[1]


def test_pages_and_backing() -> None:
    def counters(page: str, backing: str) -> dict[str, int]:
        program = UNIFORM.format("256MiB", 100_000) + f'page = "{page}"'
        result = _run(_table("a", program, memory="512MiB", backing=backing))
        found: dict[str, int] = _vm(result, "a")["counters"]
        return found

    small, backed, large = counters("4KiB", "4KiB"), counters("4KiB", "2MiB"), counters("2MiB", "2MiB")
    assert small["exits.ept_violation"] > 100 * backed["exits.ept_violation"]
    assert backed["tlb_misses"] > 100 * large["tlb_misses"]


def test_ways_to_keep_a_shadow_in_step() -> None:
    """Of equal programs, a virtual TLB traces no store; what traces is the default."""
    results = {
        sync: _vm(_run(_table("a", SORT, mmu="shadow", **({"sync": sync} if sync else {}))), "a")
        for sync in ("", "trace", "vtlb")
    }
    assert results[""] == results["trace"] and results[""]["sync"] == "trace"
    exits = {sync: vm["counters"]["exits.page_table_write"] for sync, vm in results.items()}
    assert exits["trace"] > 0 == exits["vtlb"]


def test_another_processor() -> None:
    program = UNIFORM.format("10MiB", 100_000)
    result = _run(_table("a", program) + _table("b", program, cpu="zen4"))
    assert (_vm(result, "a")["cpu"], _vm(result, "b")["cpu"]) == ("skylake-sp", "zen4")
    assert _vm(result, "a")["counters"]["tlb_misses"] > 1.5 * _vm(result, "b")["counters"]["tlb_misses"]


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    runner = Runner(Scenario.parse(_table("a", SORT)))
    runner.run(lambda done, total: seen.append((done, total)))
    assert runner.references == vmem.Trace.open("sort").references
    assert seen == sorted(seen) and seen[-1] == (runner.references, runner.references)


def test_segmentation_faults_are_warnings(tmp_path: Path) -> None:
    """A recorded program that handles its SIGSEGV: it stores to a page that it has made read-only."""
    page = 0x10000
    store = np.array([(page | 1, 0, 5)], RUN_DTYPE)
    with VmtWriter(tmp_path / "t.vmt", "stored") as writer:
        writer.add_event(MapEvent("mmap", page, 4096, "rw"))
        writer.add_runs(store)
        writer.add_event(MapEvent("mprotect", page, 4096, "r"))
        writer.add_runs(store)
        writer.finish()
    text = _table("a", '[[vm.process]]\nname = "jit"\ntrace = "t.vmt"')
    result = Runner(Scenario.parse(text, base=tmp_path)).run()
    assert result.warnings == ["VM 'a', process 'jit': 5 segmentation faults, the first at 0x10000"]
    process = _vm(result, "a")["processes"][0]
    assert (process["references"], process["segfaults"], process["ended"]) == (10, 5, "finished")


def test_a_trace_that_cannot_be_mapped_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.trace").write_text("00001000 R\n00002000 W\n")
    text = _table("a", '[[vm.process]]\ntrace = "t.trace"')
    with pytest.raises(vmem.ConfigError, match="0x1000"):
        Runner(Scenario.parse(text, base=tmp_path)).run()


# A prime for each cost: no other sum of counters gives the same cycles.
PRIMES = [101, 211, 307, 401, 503, 601, 701, 809, 907, 1009, 1103, 1201, 1301, 1409]
PRIMES += [1511, 1601, 1709, 1801, 1901, 2003, 2111]


def test_causes_add_up_to_the_cycles() -> None:
    host = vmem.Hypervisor("1GiB")
    for name, prime in zip(host.costs, PRIMES, strict=True):
        host.set_cost(name, prime)
    trace = vmem.Trace.open("gups")
    for mmu in ("native", "nested", "software-tlb"):
        vm = host.create_vm(mmu, memory="256MiB", mmu=mmu)  # type: ignore[arg-type]
        process = vm.guest.spawn("gups")
        process.load(trace)
        process.run(trace, 2_000_000)
        causes = measures.cycles_by_cause(vm.counters(), host.costs)
        assert tuple(causes) == tuple(measures.CAUSES)
        assert sum(causes.values()) == vm.counters()["cycles"]
        assert causes["walk"] == vm.counters()["walk_cycles"]


@pytest.mark.parametrize("way", ["balloon", "hypercall", "hypercall-batched"])
def test_causes_add_up_when_memory_is_given_back(way: Any) -> None:
    host = vmem.Hypervisor("1GiB")
    for name, prime in zip(host.costs, PRIMES, strict=True):
        host.set_cost(name, prime)
    vm = host.create_vm("a", memory="64MiB", reclaim=way)
    process = vm.guest.spawn()
    area = process.mmap("32MiB")
    process.access(*vmem.batch(range(area.start, area.end, 4096), 1))
    process.munmap(area)
    if vm.balloon is not None:
        vm.balloon.target = "32MiB"
        host.advance("1s")
        vm.balloon.target = "64MiB"
        host.advance("1s")
        assert vm.counters()["balloon_inflated"] == vm.counters()["balloon_deflated"] == 8192
    causes = measures.cycles_by_cause(vm.counters(), host.costs)
    assert sum(causes.values()) == vm.counters()["cycles"]
    assert causes["reclaim"] > 8192 * PRIMES[0]


def test_rates_of_nothing() -> None:
    counters = dict.fromkeys(vmem.Hypervisor("64MiB").create_vm("vm", memory="1MiB").counters(), 0)
    assert set(measures.rates(counters).values()) == {0.0}


def test_rows_are_plain_numbers() -> None:
    result = _run(_table("a", SORT) + "[run]\nlimit = 10\n")
    assert msgspec.to_builtins(result.timeline[0])[:4] == [0, 0, "a", 0]
