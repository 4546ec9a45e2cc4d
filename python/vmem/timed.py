"""Runs a scenario over simulated time: all programs at once, on physical CPUs that their VMs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vmem import __version__
from vmem.booting import boot
from vmem.durations import format_duration
from vmem.errors import OutOfMemory
from vmem.host_programs import HostPrograms
from vmem.machines import create_host, host_summary
from vmem.outcome import balloon_error, density, percentiles, together
from vmem.policies import PolicyRow
from vmem.policy_run import PolicyRun
from vmem.rows import HostRow, Row, host_row
from vmem.runner import SCHEMA, Progress, Result
from vmem.scenario import Scenario
from vmem.slowdown import Twin
from vmem.stays import Stay, Stays


@dataclass
class Course:
    """What was noted in each step."""

    vms: list[Row]
    host: list[HostRow]

    def rows_of(self, vm: str) -> list[Row]:
        """After the beginning."""
        return [row for row in self.vms if row.vm == vm and row.step]


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
        self._stays = Stays(
            self.hypervisor,
            scenario.vms,
            lambda spec, name, copy: boot(scenario, self.hypervisor, spec, name, copy),
        )
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
        began, step = host.now, 0
        self._stays.begin()
        course = Course(self._stays.rows(0), [host_row(host, 0)])
        while step < steps and not self._stays.are_over:
            step += 1
            until = began + self.duration * step // steps
            self._run_until(until, began, progress, total)
            course.vms += self._stays.rows(step)
            course.host.append(host_row(host, step))
        came = self._came()
        slowdowns = self._slowdowns(_report(progress, self.duration, total))
        warnings = self._stays.warnings() + self._host_programs.warnings() + self._policy.warnings()
        summary = self._summary(host.now - began, slowdowns, course)
        rows = [row for row in course.vms if row.vm in came]
        return Result(self.scenario, summary, rows, warnings, course.host, self.decisions, host.events())

    def _came(self) -> set[str]:
        """The names of VMs that there is something to tell of. OutOfMemory if there is none."""
        came = {stay.name for stay in self._stays.present}
        if not came:
            why = next((stay.refused for stay in self._stays.all if stay.refused), "none was due")
            raise OutOfMemory(f"no VM of the scenario has run: {why}")
        return came

    def _run_until(self, until: int, began: int, progress: Progress | None, total: int) -> None:
        """With what host processes and the policy do on the way."""
        host = self.hypervisor
        while True:
            passed = host.now - began
            self._host_programs.act(passed)
            self._stays.act(passed)
            self._policy.act()
            dues = (self._host_programs.next_due(), self._stays.next_due(), self._policy.next_due())
            stop = min([until, *(began + due for due in dues if due is not None)])
            report = _report(progress, passed, total)
            host.run(max(0, stop - host.now), progress=report)
            # Who is there may have nothing to run while others are still to come.
            if host.now < stop and not self._stays.are_over:
                host.advance(stop - host.now)
            report(host.now - began - passed)
            if stop == until or host.now >= until or self._stays.are_over:
                return

    def _slowdowns(self, report: Callable[[int], None]) -> dict[str, float | None]:
        """By VM: the time that it took, to the time that it would have taken alone."""
        if not self.scenario.run.slowdown:
            return {stay.name: None for stay in self._stays.present}
        found: dict[str, float | None] = {}
        tables = list({id(stay.spec): stay.spec for stay in self._stays.present}.values())
        for index, spec in enumerate(tables):
            members = [stay for stay in self._stays.present if stay.spec is spec]
            longest = max(stay.stayed for stay in members)
            twin = Twin(self.scenario, spec, max(stay.references for stay in members), longest)

            def part(done: int, index: int = index) -> None:
                report((index * self.duration + done) // len(tables))

            twin.run(part)
            part(self.duration)
            for stay in members:
                found[stay.name] = twin.slowdown(stay.took, stay.references)
        return found

    def _summary(self, elapsed: int, slowdowns: dict[str, float | None], course: Course) -> dict[str, Any]:
        vms = [
            self._vm_summary(stay, slowdowns[stay.name], course.rows_of(stay.name))
            for stay in self._stays.present
        ]
        host = host_summary(self.scenario, self.hypervisor)
        whole = {
            **together([vm["outcome"] for vm in vms]),
            **percentiles(stay.costs for stay in self._stays.present),
            **density(vms, host["memory_bytes"], course.host),
        }
        return {
            "schema": SCHEMA,
            "vmem": __version__,
            "scenario": self.scenario.name,
            "steps": len(course.host) - 1,
            "references_per_step": None,
            "elapsed_ns": elapsed,
            "host": {**host, "outcome": whole},
            "costs": self.hypervisor.costs,
            "host_processes": self._host_programs.summary(),
            "policy": self._policy.summary(),
            "vms": vms,
            "refused": self._stays.refused(),
        }

    def _vm_summary(self, stay: Stay, slowdown: float | None, rows: Sequence[Row]) -> dict[str, Any]:
        found = stay.summary()
        targets = ((row.balloon_target_bytes, row.balloon_bytes) for row in rows if row.balloon_target_bytes)
        found["outcome"]["balloon_error_bytes"] = balloon_error(stay.spec.memory, targets)
        return {**found, "slowdown": slowdown}


def _report(progress: Progress | None, base: int, total: int) -> Callable[[int], None]:
    def report(done: int) -> None:
        if progress is not None:
            progress(min(base + done, total), total)

    return report
