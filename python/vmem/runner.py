"""Runs a scenario by references: its processes take turns on the host, and each step is noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vmem import __version__
from vmem.errors import OutOfMemory
from vmem.events import Event
from vmem.guest import Process
from vmem.hypervisor import Vm
from vmem.machines import Machine, create_host, create_vm, host_summary
from vmem.policies import PolicyRow
from vmem.replay import Replay
from vmem.rows import HostRow, Row, host_row
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


@dataclass(frozen=True)
class Result:
    """What a run gave: `summary` is summary.json, `timeline` is timeline.csv, `host` is host.csv."""

    scenario: Scenario
    summary: dict[str, Any]
    timeline: list[Row]
    warnings: list[str]
    host: list[HostRow] = field(default_factory=list)
    policy: list[PolicyRow] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    """What happened on the host: docs/reference/events.md."""


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

    @property
    def references(self) -> int:
        return self.total.references

    @property
    def segfaults(self) -> int:
        return self.total.segfaults

    @property
    def first_segfault(self) -> int | None:
        return self.total.first_segfault

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


class Runner:
    """A scenario's host with its VMs, ready to run once.

    Making one boots the VMs and learns how long the traces are, which reads through those that do not say.
    ConfigError, OutOfMemory, TraceError.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.hypervisor = create_host(scenario)
        self._jobs: list[_Job] = []
        self._machines = [
            self._boot(spec, name, copy) for spec in scenario.vms for copy, name in enumerate(spec.names)
        ]
        self.references = sum(job.left for job in self._jobs)
        """How many references a run makes."""
        longest = max(job.left for job in self._jobs)
        self._quantum = max(1, -(-longest // scenario.run.steps))

    @property
    def extent(self) -> str:
        """How much there is to run."""
        return f"{self.references:,} references"

    @property
    def decisions(self) -> list[PolicyRow]:
        """None: a policy needs time."""
        return []

    def run(self, progress: Progress | None = None) -> Result:
        """Runs every process to its end, in turns. `progress(done, total)` counts references."""
        timeline, host = self._rows(0), [host_row(self.hypervisor, 0)]
        made, step = 0, 0
        while any(job.left for job in self._jobs):
            step += 1
            for job in self._jobs:
                made += job.step(self._quantum, self._report(progress, made))
                self._report(progress, made)(0)
            timeline += self._rows(step)
            host.append(host_row(self.hypervisor, step))
        warnings = [text for machine in self._machines for text in machine.warnings()]
        events = self.hypervisor.events()
        return Result(self.scenario, self._summary(step), timeline, warnings, host, events=events)

    def _rows(self, step: int) -> list[Row]:
        return [machine.meter.row(step, self.hypervisor.now) for machine in self._machines]

    def _report(self, progress: Progress | None, base: int) -> Callable[[int], None]:
        def report(done: int) -> None:
            if progress is not None:
                progress(base + done, self.references)

        return report

    def _boot(self, spec: VmSpec, name: str, copy: int) -> Machine:
        vm = create_vm(self.hypervisor, spec, name)
        limit = self.scenario.run.limit
        jobs = []
        for index, process in enumerate(spec.process):
            once, begin = self._program(process, copy, index)
            length = once * process.repeat
            jobs.append(_Job(vm, process, index, length if limit is None else min(limit, length), begin))
        self._jobs += jobs
        return Machine(spec, vm, jobs)

    def _program(self, spec: ProcessSpec, copy: int, index: int) -> tuple[int, _Begin]:
        """The references of one run, and what begins one in a new process."""
        workload = spec.workload
        if workload is None:
            trace = self.scenario.traces[str(spec.trace)]

            def begin_trace(process: Process) -> Replay:
                process.load(trace, page=spec.page)
                return Replay(process, trace, page=spec.page)

            return trace.references, begin_trace
        assert isinstance(workload, Stream)  # the others need time, as the scenario's check has seen to
        seed = workload.stream(self.scenario.host.seed, copy, index)

        def begin_workload(process: Process) -> Replay:
            data = process.mmap(workload.size, page=spec.page, name=workload.kind)
            return Replay(process, workload.trace(data.start, seed))

        return workload.references, begin_workload

    def _summary(self, steps: int) -> dict[str, Any]:
        costs = self.hypervisor.costs
        return {
            "schema": SCHEMA,
            "vmem": __version__,
            "scenario": self.scenario.name,
            "steps": steps,
            "references_per_step": self._quantum,
            "elapsed_ns": self.hypervisor.now,
            "host": host_summary(self.scenario, self.hypervisor),
            "costs": costs,
            "vms": [machine.summary(costs) for machine in self._machines],
        }
