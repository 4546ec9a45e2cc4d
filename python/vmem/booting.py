"""Booting the VMs of a scenario over time, with their programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vmem.hypervisor import Hypervisor, Vm
from vmem.machines import Machine, create_vm
from vmem.programs import Program
from vmem.scenario import Process as ProcessSpec
from vmem.scenario import Scenario
from vmem.scenario import Vm as VmSpec


class _Job:
    """One process of a VM and its program."""

    def __init__(self, spec: ProcessSpec, program: Program) -> None:
        self.spec = spec
        self.name = spec.name or spec.label
        self.program = program

    @property
    def progressed_at(self) -> int:
        return self.program.progressed_at

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


class TimedMachine(Machine):
    """One whose programs run while time passes."""

    def __init__(self, spec: VmSpec, vm: Vm, jobs: Sequence[_Job]) -> None:
        super().__init__(spec, vm, jobs)
        self._jobs = jobs

    @property
    def programs(self) -> list[Program]:
        return [job.program for job in self._jobs]

    @property
    def costs(self) -> dict[int, int]:
        """References of all its programs, by what they cost in picoseconds."""
        merged: Counter[int] = Counter()
        for program in self.programs:
            merged.update(program.costs)
        return merged

    @property
    def progressed_at(self) -> int:
        """When its programs had made their last reference: nanoseconds of the host's clock, 0 if none."""
        return max(job.progressed_at for job in self._jobs)


def boot(scenario: Scenario, host: Hypervisor, spec: VmSpec, name: str, copy: int) -> TimedMachine:
    """A VM of the scenario with its programs started."""
    vm = create_vm(host, spec, name)
    jobs = [_Job(process, _start(scenario, vm, process, copy, i)) for i, process in enumerate(spec.process)]
    return TimedMachine(spec, vm, jobs)


def _start(scenario: Scenario, vm: Vm, spec: ProcessSpec, copy: int, index: int) -> Program:
    process = vm.guest.spawn(spec.name or spec.label, vcpu=index % len(vm.vcpus))
    limit, workload = scenario.run.limit, spec.workload
    if workload is None:
        trace = scenario.traces[str(spec.trace)]
        return process.start(trace, compute=spec.compute, runs=spec.repeat, limit=limit, page=spec.page)
    seed = workload.stream(scenario.host.seed, copy, index)
    return process.start(workload, seed=seed, runs=spec.repeat, limit=limit, page=spec.page)
