"""What a scenario may say, key by key. docs/guides/scenarios.md explains it."""

from __future__ import annotations

from typing import Annotated, get_args

import msgspec
from msgspec import Meta

from vmem.decode import Bytes, Nanoseconds, decode_nested, decode_tables, names
from vmem.hypervisor import Admission, Backing, MmuMode, ShadowSync
from vmem.scenario.policy import PolicyChoice, decode_policy
from vmem.scenario.workloads import Workload, decode_workload
from vmem.ways import WAYS, Reclaim

MODES: tuple[MmuMode, ...] = get_args(MmuMode)
SYNCS: tuple[ShadowSync, ...] = get_args(ShadowSync)
PAGES: tuple[Backing, ...] = get_args(Backing)
ADMISSIONS: tuple[Admission, ...] = get_args(Admission)

Name = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
        description="a name of letters, digits, '.', '_' and '-', at most 64 of them",
    ),
]
Text = Annotated[str, Meta(min_length=1, description="a shipped trace's name, or a file")]
CpuName = Annotated[str, Meta(description="the name of a processor")]
Mode = Annotated[MmuMode, Meta(description=names(MODES))]
Sync = Annotated[ShadowSync, Meta(description=names(SYNCS))]
Page = Annotated[Backing, Meta(description=names(PAGES))]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the document."""


class Process(Table, frozen=True, kw_only=True):
    """A program that runs in a VM: a trace or a workload."""

    name: Name | None = None
    trace: Text | None = None
    workload: (
        Annotated[Workload, Meta(description="a workload", extra={"decode": decode_workload})] | None
    ) = None
    repeat: Annotated[int, Meta(ge=1, le=10**6, description="a number of runs from 1 to 1,000,000")] = 1
    page: Page = "4KiB"
    compute: Nanoseconds = 1000
    """Of a trace, in a run over time: time on a CPU between two references."""

    @property
    def label(self) -> str:
        """What runs: the trace's or the workload's name."""
        if self.workload is not None:
            return self.workload.kind
        return str(self.trace).rsplit("/", 1)[-1].split(".")[0]


class Vm(Table, frozen=True, kw_only=True):
    """Virtual machines that are alike."""

    name: Name
    memory: Bytes
    group: Name | None = None
    """What it is shown under where VMs are many; None: its name."""
    count: Annotated[int, Meta(ge=1, le=10_000, description="a number of VMs from 1 to 10,000")] = 1
    mmu: Mode = "nested"
    sync: Sync | None = None
    software_tlb: (
        Annotated[int, Meta(ge=0, le=1 << 24, description="a number of entries from 0 to 16,777,216")] | None
    ) = None
    backing: Page = "4KiB"
    vcpus: Annotated[int, Meta(ge=1, le=255, description="a number of vCPUs from 1 to 255")] = 1
    cpu: CpuName | None = None
    balloon: Annotated[bool, Meta(description="true or false")] | None = None
    """Whether it has a memory balloon; None: in `vmem serve` only."""
    reclaim: Annotated[Reclaim, Meta(description=names(WAYS))] = "swap"
    disk: Bytes | None = None
    swap: Bytes | None = None
    """What its guest swaps to."""
    reservation: Bytes = 0
    limit: Bytes | None = None
    minimum: Bytes | None = None
    """The least that a policy leaves it."""
    shares: Annotated[int, Meta(ge=1, le=10**6, description="a number from 1 to 1,000,000")] = 1000
    arrives: Nanoseconds = 0
    """When it comes, in a run over time; 0: it is there when the run begins."""
    departs: Nanoseconds | None = None
    """When it leaves; None: not before the run's end."""
    process: Annotated[
        tuple[Process, ...],
        Meta(description="one or more tables [[vm.process]]", extra={"decode": decode_tables(Process)}),
    ]

    @property
    def names(self) -> list[str]:
        """Of the machines: the name, with -1, -2, … if there are several."""
        return [self.name] if self.count == 1 else [f"{self.name}-{i + 1}" for i in range(self.count)]


class HostProcess(Table, frozen=True, kw_only=True):
    """A program of the host beside its VMs: memory that it takes and gives back."""

    name: Name
    memory: Bytes
    start: Nanoseconds = 0
    grow: Nanoseconds = 0
    """For so long it grows, in equal steps, until it has its memory."""
    end: Nanoseconds | None = None
    """When it exits; None: not before the run's end."""


class Host(Table, frozen=True, kw_only=True):
    """The machine."""

    memory: Bytes = 4 << 30
    swap: Bytes = 0
    swap_dir: Annotated[str, Meta(min_length=1, description="a directory")] | None = None
    swap_read_time: Nanoseconds = 100_000
    cpu: CpuName = "skylake-sp"
    cpus: Annotated[int, Meta(ge=1, le=10**6, description="a number of physical CPUs from 1")] | None = None
    ghz: Annotated[float, Meta(ge=0.001, le=100, description="a frequency from 0.001 to 100 GHz")] = 3.0
    quantum: Nanoseconds = 3_000_000
    seed: Annotated[int, Meta(ge=0, description="a number from 0 to 2**63 - 1")] = 1
    admission: Annotated[Admission, Meta(description=names(ADMISSIONS))] = "none"
    """Whether VMs are turned away for what they are promised."""
    vm_overhead: Bytes = 32 << 20
    """What admission reckons with for each VM beside its memory."""


class Run(Table, frozen=True, kw_only=True):
    """How long, and how finely interleaved or noted."""

    duration: Nanoseconds | None = None
    """Simulated time; None: by references."""
    slowdown: Annotated[bool, Meta(description="true or false")] = True
    """Whether a run over time measures slowdowns."""
    limit: Annotated[int, Meta(ge=1, description="a number of references from 1")] | None = None
    """References of each process."""
    steps: Annotated[int, Meta(ge=1, le=100_000, description="a number of steps from 1 to 100,000")] = 100


class Document(Table, frozen=True, kw_only=True):
    """A whole scenario."""

    host: Annotated[Host, Meta(description="a table [host]", extra={"decode": decode_nested(Host)})] = Host()
    policy: (
        Annotated[PolicyChoice, Meta(description="a table [policy]", extra={"decode": decode_policy})] | None
    ) = None
    vm: Annotated[
        tuple[Vm, ...],
        Meta(description="one or more tables [[vm]]", extra={"decode": decode_tables(Vm)}),
    ]
    fleet: Annotated[tuple[()], Meta(description="one or more tables [[fleet]]")] = ()
    """Empty: their VMs are among the others by now (scenario/fleet.py)."""
    host_process: Annotated[
        tuple[HostProcess, ...],
        Meta(description="one or more tables [[host_process]]", extra={"decode": decode_tables(HostProcess)}),
    ] = ()
    run: Annotated[Run, Meta(description="a table [run]", extra={"decode": decode_nested(Run)})] = Run()
