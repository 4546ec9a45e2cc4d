"""The VMs of a scenario on their host: booting them, and what each one's summary says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from vmem import measures
from vmem.hypervisor import Hypervisor, Vm
from vmem.reclaim import HostReclaim
from vmem.rows import VmMeter, balloon_bytes, guest_memory
from vmem.scenario import Process, Scenario
from vmem.scenario import Vm as VmSpec


class Job(Protocol):
    """One process of a VM with its program, as far as it has come."""

    @property
    def spec(self) -> Process: ...
    @property
    def name(self) -> str: ...
    @property
    def runs(self) -> int: ...
    @property
    def references(self) -> int: ...
    @property
    def segfaults(self) -> int: ...
    @property
    def first_segfault(self) -> int | None: ...
    @property
    def ended(self) -> str:
        """ "finished", or why it was stopped, or that it still runs."""


class Machine:
    """One VM of a scenario, and its jobs."""

    def __init__(self, spec: VmSpec, vm: Vm, jobs: Sequence[Job]) -> None:
        self.spec, self.vm, self.jobs = spec, vm, jobs
        self.meter = VmMeter(vm, lambda: self.references)

    @property
    def references(self) -> int:
        """Made by all of its programs."""
        return sum(job.references for job in self.jobs)

    def summary(self, costs: dict[str, int]) -> dict[str, Any]:
        """Its part of summary.json."""
        counters, time = self.vm.counters(), self.vm.time()
        return {
            "name": self.vm.name,
            "group": self.spec.group or self.spec.name,
            "mmu": self.vm.mmu,
            "sync": (self.spec.sync or "trace") if self.vm.mmu == "shadow" else None,
            "software_tlb": (self.spec.software_tlb or 0) if self.vm.mmu == "software-tlb" else None,
            "backing": self.spec.backing,
            "memory_bytes": self.vm.memory,
            "vcpus": len(self.vm.vcpus),
            "cpu": self.vm.cpu.name,
            "references": self.references,
            "running_ns": time.running,
            "waiting_ns": time.waiting,
            "runnable_ns": time.runnable,
            "resident_bytes": self.vm.resident,
            "swapped_bytes": self.vm.swapped,
            "guest_used_bytes": guest_memory(self.vm).used,
            "balloon_bytes": balloon_bytes(self.vm),
            "killed": self.vm.is_killed,
            "vmstat": self.vm.guest.vmstat(),
            "pressure": self.vm.guest.pressure(),
            "rates": measures.rates(counters),
            "cycles_by_cause": measures.cycles_by_cause(counters, costs),
            "counters": counters,
            "processes": [
                {
                    "name": job.name,
                    "program": job.spec.trace or job.spec.label,
                    "page": job.spec.page,
                    "runs": job.runs,
                    "references": job.references,
                    "segfaults": job.segfaults,
                    "ended": job.ended,
                }
                for job in self.jobs
            ],
        }

    def warnings(self) -> list[str]:
        """Processes that were stopped, and segmentation faults."""
        found = []
        for job in self.jobs:
            where = f"VM {self.vm.name!r}, process {job.name!r}"
            if job.ended not in ("finished", "running"):
                found.append(f"{where}: stopped after {job.references:,} references: {job.ended}")
            if job.segfaults:
                found.append(
                    f"{where}: {job.segfaults:,} segmentation faults, the first at {job.first_segfault:#x}"
                )
        return found


def create_host(scenario: Scenario) -> Hypervisor:
    """The host of a scenario, without its VMs."""
    host = scenario.host
    return Hypervisor(
        host.memory,
        swap=host.swap,
        swap_dir=host.swap_dir,
        swap_read_time=host.swap_read_time,
        cpu=host.cpu,
        ghz=host.ghz,
        cpus=host.cpus,
        quantum=host.quantum,
        seed=host.seed,
        admission=host.admission,
        vm_overhead=host.vm_overhead,
        reclaim=HostReclaim() if scenario.policy is None else scenario.policy.rules.reclaim(),
    )


def create_vm(host: Hypervisor, spec: VmSpec, name: str) -> Vm:
    """One VM of a [[vm]] table."""
    vm = host.create_vm(
        name,
        memory=spec.memory,
        vcpus=spec.vcpus,
        mmu=spec.mmu,
        backing=spec.backing,
        cpu=spec.cpu,
        sync=spec.sync or "trace",
        software_tlb=spec.software_tlb or 0,
        balloon=spec.balloon,
        reclaim=spec.reclaim,
        disk=spec.disk,
        swap=spec.swap,
        reservation=spec.reservation,
        limit=spec.limit,
        shares=spec.shares,
    )
    # Stores of programs have no bytes: to a kernel that looks, each of their pages is one of zeros.
    vm.guest.swap_detects_zeros = False
    return vm


def host_summary(scenario: Scenario, host: Hypervisor) -> dict[str, Any]:
    """The host's part of summary.json."""
    memory = host.meminfo()
    return {
        "cpu": scenario.host.cpu,
        "cpus": scenario.host.cpus,
        "ghz": scenario.host.ghz,
        "seed": scenario.host.seed,
        "memory_bytes": memory["total"],
        "free_bytes": memory["free"],
        "table_bytes": memory["tables"],
        "committed_bytes": memory["committed"],
        "swap_bytes": memory["swap_total"],
        "swap_used_bytes": memory["swap_used"],
        "process_bytes": memory["processes"],
        "state": host.state,
        "stat": host.stat(),
    }
