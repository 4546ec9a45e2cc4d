"""Runs a scenario over simulated time: all programs at once, on physical CPUs that their VMs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vmem import __version__
from vmem.durations import format_duration
from vmem.host_programs import HostPrograms
from vmem.hypervisor import Hypervisor, Vm
from vmem.machines import Machine, create_host, create_vm, host_summary
from vmem.policies import PolicyRow
from vmem.policy_run import PolicyRun
from vmem.programs import Program
from vmem.rows import Row, host_row
from vmem.runner import SCHEMA, Progress, Result
from vmem.scenario import Process as ProcessSpec
from vmem.scenario import Scenario
from vmem.scenario import Vm as VmSpec
from vmem.slowdown import Twin


class _Job:
    """One process of a VM and its program."""

    def __init__(self, spec: ProcessSpec, program: Program) -> None:
        self.spec = spec
        self.name = spec.name or spec.label
        self.program = program

    @property
    def runs(self) -> int:
        return self.program.runs

    @property
    def references(self) -> int:
        return self.program.references

    @property
    def segfaults(self) -> int:
        return self.program.segfaults

    @property
    def first_segfault(self) -> int | None:
        return self.program.first_segfault

    @property
    def ended(self) -> str:
        return self.program.stopped or ("finished" if self.program.ended else "running")


def boot(scenario: Scenario, host: Hypervisor, spec: VmSpec, name: str, copy: int) -> Machine:
    """A VM of the scenario with its programs started."""
    vm = create_vm(host, spec, name)
    jobs = [_Job(process, _start(scenario, vm, process, copy, i)) for i, process in enumerate(spec.process)]
    return Machine(spec, vm, jobs)


def _start(scenario: Scenario, vm: Vm, spec: ProcessSpec, copy: int, index: int) -> Program:
    process = vm.guest.spawn(spec.name or spec.label, vcpu=index % len(vm.vcpus))
    limit, workload = scenario.run.limit, spec.workload
    if workload is None:
        trace = scenario.traces[str(spec.trace)]
        return process.start(trace, compute=spec.compute, runs=spec.repeat, limit=limit, page=spec.page)
    seed = workload.stream(scenario.host.seed, copy, index)
    return process.start(workload, seed=seed, runs=spec.repeat, limit=limit, page=spec.page)


class TimedRunner:
    """A scenario's host with its VMs and programs, ready to run once for the scenario's duration.

    ConfigError, OutOfMemory, TraceError.
    """

    def __init__(self, scenario: Scenario) -> None:
        assert scenario.run.duration is not None
        self.scenario = scenario
        self.duration = scenario.run.duration
        self.hypervisor = create_host(scenario)
        self._host_programs = HostPrograms(scenario, self.hypervisor)
        self._machines = [
            boot(scenario, self.hypervisor, spec, name, copy)
            for spec in scenario.vms
            for copy, name in enumerate(spec.names)
        ]
        self._policy = PolicyRun(scenario, self.hypervisor)

    @property
    def extent(self) -> str:
        """How much there is to run."""
        return format_duration(self.duration)

    @property
    def decisions(self) -> list[PolicyRow]:
        """What its policy has decided so far."""
        return self._policy.rows

    def run(self, progress: Progress | None = None) -> Result:
        """Runs until the time is up or all programs have ended, then what slowdowns are measured against.

        `progress(done, total)` counts simulated nanoseconds.
        """
        total = self.duration * (2 if self.scenario.run.slowdown else 1)
        host, steps = self.hypervisor, self.scenario.run.steps
        timeline, host_rows = self._rows(0), [host_row(host, 0)]
        began, step = host.now, 0
        while step < steps and not self._all_ended():
            step += 1
            until = began + self.duration * step // steps
            self._run_until(until, began, progress, total)
            timeline += self._rows(step)
            host_rows.append(host_row(host, step))
        slowdowns = self._slowdowns(host.now - began, _report(progress, self.duration, total))
        warnings = [text for machine in self._machines for text in machine.warnings()]
        warnings += self._host_programs.warnings() + self._policy.warnings()
        summary = self._summary(step, host.now - began, slowdowns)
        return Result(
            self.scenario, summary, timeline, warnings, host_rows, self.decisions, self.hypervisor.events()
        )

    def _run_until(self, until: int, began: int, progress: Progress | None, total: int) -> None:
        """With what host processes and the policy do on the way."""
        host = self.hypervisor
        while True:
            passed = host.now - began
            self._host_programs.act(passed)
            self._policy.act()
            dues = (self._host_programs.next_due(), self._policy.next_due())
            stop = min([until, *(began + due for due in dues if due is not None)])
            report = _report(progress, passed, total)
            host.run(max(0, stop - host.now), progress=report)
            report(host.now - began - passed)
            if stop == until or host.now >= until or self._all_ended():
                return

    def _all_ended(self) -> bool:
        return all(job.ended != "running" for machine in self._machines for job in machine.jobs)

    def _rows(self, step: int) -> list[Row]:
        return [machine.meter.row(step, self.hypervisor.now) for machine in self._machines]

    def _slowdowns(self, elapsed: int, report: Callable[[int], None]) -> dict[str, float | None]:
        """By VM: the time that it took, to the time that it would have taken alone."""
        if not self.scenario.run.slowdown:
            return {machine.vm.name: None for machine in self._machines}
        found: dict[str, float | None] = {}
        tables = list({id(machine.spec): machine.spec for machine in self._machines}.values())
        for index, spec in enumerate(tables):
            members = [machine for machine in self._machines if machine.spec is spec]
            twin = Twin(self.scenario, spec, max(machine.references for machine in members), elapsed)

            def part(done: int, index: int = index) -> None:
                report((index * self.duration + done) // len(tables))

            twin.run(part)
            part(self.duration)
            for machine in members:
                took = max(job.program.progressed_at for job in machine.jobs if isinstance(job, _Job))
                found[machine.vm.name] = twin.slowdown(took, machine.references)
        return found

    def _summary(self, steps: int, elapsed: int, slowdowns: dict[str, float | None]) -> dict[str, Any]:
        costs = self.hypervisor.costs
        return {
            "schema": SCHEMA,
            "vmem": __version__,
            "scenario": self.scenario.name,
            "steps": steps,
            "references_per_step": None,
            "elapsed_ns": elapsed,
            "host": host_summary(self.scenario, self.hypervisor),
            "costs": costs,
            "host_processes": self._host_programs.summary(),
            "policy": self._policy.summary(),
            "vms": [
                {**machine.summary(costs), "slowdown": slowdowns[machine.vm.name]}
                for machine in self._machines
            ],
        }


def _report(progress: Progress | None, base: int, total: int) -> Callable[[int], None]:
    def report(done: int) -> None:
        if progress is not None:
            progress(min(base + done, total), total)

    return report
