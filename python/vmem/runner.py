"""Runs a scenario: its processes take turns on the host, and what happens is noted step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from vmem import __version__, measures
from vmem.errors import ConfigError, OutOfMemory
from vmem.guest import Process
from vmem.hypervisor import Hypervisor, Vm
from vmem.replay import Replay
from vmem.scenario import Process as ProcessSpec
from vmem.scenario import Scenario
from vmem.scenario import Vm as VmSpec
from vmem.scenario.workloads import Stream
from vmem.summary import Summary

Progress = Callable[[int, int], object]
"""Called with (done, total)."""
_Begin = Callable[[Process], Replay]

SCHEMA = 1
"""Of summary.json: grows when a key changes its meaning or goes away."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """What one VM did in one step, and its memory at the end of it: a row of timeline.csv."""

    step: int
    vm: str
    references: int
    l1_hits: int
    l2_hits: int
    tlb_misses: int
    walks: int
    walk_refs_guest: int
    walk_refs_host: int
    guest_faults: int
    host_faults: int
    exits: int
    cycles: int
    resident_bytes: int
    guest_used_bytes: int


TIMELINE = Row.__struct_fields__
"""Columns of timeline.csv; docs/reference/cli.md explains them."""


@dataclass(frozen=True)
class Result:
    """What a run gave: `summary` is summary.json, `timeline` is timeline.csv."""

    scenario: Scenario
    summary: dict[str, Any]
    timeline: list[Row]
    warnings: list[str]


class _Job:
    """One process of a VM, run after run: every run of its program is a process of its own."""

    def __init__(self, vm: Vm, spec: ProcessSpec, index: int, length: int, begin: _Begin) -> None:
        self.spec = spec
        self.name = spec.name or spec.label
        self.total = Summary()
        self.runs = 0
        self.left = length
        """References that remain."""
        self.ended = "finished"
        self._vm, self._vcpu, self._begin = vm, index % len(vm.vcpus), begin
        self._process: Process | None = None
        self._replay: Replay | None = None

    def step(self, references: int, report: Callable[[int], None]) -> int:
        """Makes so many references, fewer at the end; returns how many. `report` gets how many so far."""
        made = 0
        while made < references and self.left:
            before = self._accesses()
            try:
                made += self._stretch(min(references - made, self.left), _offset(report, made))
            except OutOfMemory as error:
                lost = self._accesses() - before  # the host gave out within the call, which returned nothing
                self.total.references += lost
                made += lost
                self._stop(str(error))
        return made

    def _accesses(self) -> int:
        return self._vm.vcpus[self._vcpu].counters()["accesses"]

    def _stretch(self, references: int, report: Callable[[int], None]) -> int:
        """A part of one run of the program."""
        if self._replay is None:
            self.runs += 1
            self._process = self._vm.guest.spawn(self.name, vcpu=self._vcpu)
            self._replay = self._begin(self._process)
        part = (
            self._replay.step(references, progress=_offset(report, -self._replay.total.references))
            or Summary()
        )
        self.total.add(part)
        self.left -= part.references
        if part.killed:
            by_guest = self._vm.guest.vmstat()["oom_kill"]
            self._stop("its guest is out of memory" if by_guest else "the host has no memory left for its VM")
        elif self._replay.done or not self.left:
            assert self._process is not None
            self._process.exit()
            self._process = self._replay = None
        return part.references

    def _stop(self, why: str) -> None:
        self.left, self.ended = 0, why


def _offset(report: Callable[[int], None], base: int) -> Callable[[int], None]:
    return lambda done: report(base + done)


class _Machine:
    """One VM of the scenario, its processes, and what its counters were a step ago."""

    def __init__(self, spec: VmSpec, vm: Vm, jobs: list[_Job]) -> None:
        self.spec, self.vm, self.jobs = spec, vm, jobs
        self._before = dict.fromkeys(vm.counters(), 0)
        self._made = 0

    def row(self, step: int) -> Row:
        """What has happened since the last row."""
        counters = self.vm.counters()
        c = {name: value - self._before[name] for name, value in counters.items()}
        self._before = counters
        made, self._made = self._made, sum(job.total.references for job in self.jobs)
        return Row(
            step=step,
            vm=self.vm.name,
            references=self._made - made,
            l1_hits=measures.l1_hits(c),
            l2_hits=c["l2_hits"],
            tlb_misses=c["tlb_misses"],
            walks=c["walks"],
            walk_refs_guest=c["walk_refs_guest"],
            walk_refs_host=c["walk_refs_host"],
            guest_faults=measures.guest_faults(c),
            host_faults=measures.host_faults(c),
            exits=measures.exits(c),
            cycles=c["cycles"],
            resident_bytes=self.vm.resident,
            guest_used_bytes=guest_used(self.vm),
        )

    def summary(self, costs: dict[str, int]) -> dict[str, Any]:
        counters = self.vm.counters()
        return {
            "name": self.vm.name,
            "group": self.spec.name,
            "mmu": self.vm.mmu,
            "sync": (self.spec.sync or "trace") if self.vm.mmu == "shadow" else None,
            "backing": self.spec.backing,
            "memory_bytes": self.vm.memory,
            "vcpus": len(self.vm.vcpus),
            "cpu": self.vm.cpu.name,
            "references": self._made,
            "resident_bytes": self.vm.resident,
            "guest_used_bytes": guest_used(self.vm),
            "rates": measures.rates(counters),
            "cycles_by_cause": measures.cycles_by_cause(counters, costs),
            "counters": counters,
            "processes": [
                {
                    "name": job.name,
                    "program": job.spec.trace or job.spec.label,
                    "page": job.spec.page,
                    "runs": job.runs,
                    "references": job.total.references,
                    "segfaults": job.total.segfaults,
                    "ended": job.ended,
                }
                for job in self.jobs
            ],
        }


def guest_used(vm: Vm) -> int:
    """Bytes that the guest's kernel has given out: to processes and to its own page tables."""
    info = vm.guest.meminfo()
    return info["MemTotal"] - info["MemFree"]


class Runner:
    """A scenario's host with its VMs, ready to run once.

    Making one boots the VMs and learns how long the traces are, which reads through those that do not say.
    ConfigError, OutOfMemory, TraceError.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        host = scenario.host
        self.hypervisor = Hypervisor(host.memory, cpu=host.cpu, seed=host.seed)
        self._machines = [
            self._boot(spec, name, copy) for spec in scenario.vms for copy, name in enumerate(spec.names)
        ]
        self._jobs = [job for machine in self._machines for job in machine.jobs]
        self.references = sum(job.left for job in self._jobs)
        """How many references a run makes."""
        longest = max(job.left for job in self._jobs)
        self._quantum = max(1, -(-longest // scenario.run.steps))

    def run(self, progress: Progress | None = None) -> Result:
        """Runs every process to its end, in turns. `progress(done, total)` counts references."""
        timeline = [machine.row(0) for machine in self._machines]
        made, step = 0, 0
        while any(job.left for job in self._jobs):
            step += 1
            for job in self._jobs:
                made += job.step(self._quantum, self._report(progress, made))
                self._report(progress, made)(0)
            timeline += [machine.row(step) for machine in self._machines]
        return Result(self.scenario, self._summary(step), timeline, self._warnings())

    def _report(self, progress: Progress | None, base: int) -> Callable[[int], None]:
        def report(done: int) -> None:
            if progress is not None:
                progress(base + done, self.references)

        return report

    def _boot(self, spec: VmSpec, name: str, copy: int) -> _Machine:
        vm = self.hypervisor.create_vm(
            name,
            memory=spec.memory,
            vcpus=spec.vcpus,
            mmu=spec.mmu,
            backing=spec.backing,
            cpu=spec.cpu,
            sync=spec.sync or "trace",
        )
        limit = self.scenario.run.limit
        jobs = []
        for index, process in enumerate(spec.process):
            once, begin = self._program(process, copy, index)
            length = once * process.repeat
            jobs.append(_Job(vm, process, index, length if limit is None else min(limit, length), begin))
        return _Machine(spec, vm, jobs)

    def _program(self, spec: ProcessSpec, copy: int, index: int) -> tuple[int, _Begin]:
        """The references of one run, and what begins one in a new process."""
        workload = spec.workload
        if workload is None:
            trace = self.scenario.traces[str(spec.trace)]

            def begin_trace(process: Process) -> Replay:
                process.load(trace, page=spec.page)
                return Replay(process, trace, page=spec.page)

            return trace.references, begin_trace
        if not isinstance(workload, Stream):
            raise ConfigError(f"workload {workload.kind!r}: accepted in runs over time only, [run] duration")
        seed = workload.stream(self.scenario.host.seed, copy, index)

        def begin_workload(process: Process) -> Replay:
            data = process.mmap(workload.size, page=spec.page, name=workload.kind)
            return Replay(process, workload.trace(data.start, seed))

        return workload.references, begin_workload

    def _summary(self, steps: int) -> dict[str, Any]:
        costs = self.hypervisor.costs
        host, memory = self.scenario.host, self.hypervisor.meminfo()
        return {
            "schema": SCHEMA,
            "vmem": __version__,
            "scenario": self.scenario.name,
            "steps": steps,
            "references_per_step": self._quantum,
            "host": {
                "cpu": host.cpu,
                "seed": host.seed,
                "memory_bytes": memory["total"],
                "free_bytes": memory["free"],
                "table_bytes": memory["tables"],
                "committed_bytes": memory["committed"],
            },
            "costs": costs,
            "vms": [machine.summary(costs) for machine in self._machines],
        }

    def _warnings(self) -> list[str]:
        found = []
        for machine in self._machines:
            for job in machine.jobs:
                where = f"VM {machine.vm.name!r}, process {job.name!r}"
                after = f"after {job.total.references:,} references"
                if job.ended != "finished":
                    found.append(f"{where}: stopped {after}: {job.ended}")
                if job.total.segfaults:
                    first = job.total.first_segfault
                    found.append(
                        f"{where}: {job.total.segfaults:,} segmentation faults, the first at {first:#x}"
                    )
        return found
