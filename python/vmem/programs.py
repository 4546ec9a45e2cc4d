"""Programs that processes run while simulated time passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from vmem import _core, checks
from vmem.durations import Duration, parse_duration
from vmem.errors import ConfigError
from vmem.guest import Process, protection
from vmem.sizes import parse_largest

if TYPE_CHECKING:
    from vmem.replay import Arrays
    from vmem.scenario.workloads import Workload
    from vmem.traces import Trace

_NO_LIMIT = 2**64 - 1


class Program:
    """A program that a process runs: made by `Process.start`. `Hypervisor.run` lets it go on."""

    def __init__(self, core: _core.Machine, number: int) -> None:
        self._core, self._number = core, number

    @property
    def references(self) -> int:
        """Made so far, by all of its runs."""
        return self._core.task_state(self._number)[0]

    @property
    def segfaults(self) -> int:
        """References among them that were answered with SIGSEGV."""
        return self._core.task_state(self._number)[1]

    @property
    def first_segfault(self) -> int | None:
        """The address of the first one."""
        return self._core.task_state(self._number)[2] if self.segfaults else None

    @property
    def runs(self) -> int:
        """How often it has begun."""
        return self._core.task_state(self._number)[3]

    @property
    def ended(self) -> bool:
        """Whether it will not go on: its runs are over, or it was stopped."""
        return self._core.task_state(self._number)[4]

    @property
    def stopped(self) -> str | None:
        """Why it was stopped before its end; None if it was not."""
        return self._core.task_state(self._number)[5] or None

    @property
    def costs(self) -> dict[int, int]:
        """How many references cost how much: picoseconds (rounded up by at most 1/64) → references.

        Without what the program computes, with waits. docs/reference/outcome.md says how it is measured.
        """
        return dict(self._core.task_costs(self._number))

    @property
    def bursts(self) -> Bursts:
        """Of the workload `demand`; zeros of others."""
        return Bursts(*self._core.task_bursts(self._number))

    @property
    def progressed_at(self) -> int:
        """When it had made its last reference: nanoseconds of the host's clock, 0 if it has made none."""
        return self._core.task_state(self._number)[6]


class Bursts(NamedTuple):
    """Growths of a program's demand: each from when it was to grow until it had touched all of it."""

    done: int
    size: int
    """Bytes by which they grew."""
    time: int
    """Nanoseconds that they took together."""
    longest: int
    """Nanoseconds, of one."""
    cut_short: int
    """Growths that ended with a fall of the demand before all of it was there; they count nowhere else."""


@dataclass(frozen=True)
class VmTime:
    """What one VM did in a run. Times are nanoseconds, summed over its vCPUs."""

    references: int
    """Made by its programs: its progress."""
    running: int
    """On a physical CPU."""
    waiting: int
    """For disk or swap: the memory stall."""
    runnable: int
    """Ready, with no physical CPU to run on."""

    def __sub__(self, other: VmTime) -> VmTime:
        return VmTime(
            self.references - other.references,
            self.running - other.running,
            self.waiting - other.waiting,
            self.runnable - other.runnable,
        )


@dataclass(frozen=True)
class RunSummary:
    """How a run ended, and what happened in it."""

    elapsed: int
    """Simulated nanoseconds."""
    ended: str
    """Why: "time" was up, all "programs" had ended, or there were enough "references"."""
    vms: dict[str, VmTime]


def start(
    process: Process,
    program: Workload | Trace | Arrays,
    *,
    seed: int | None = None,
    compute: Duration = "1us",
    runs: int = 1,
    limit: int | None = None,
    page: str = "4KiB",
) -> Program:
    """See `Process.start`."""
    from vmem.scenario.workloads import Workload

    core = process._core
    most = _NO_LIMIT if limit is None else checks.integer(limit, "limit", 1, _NO_LIMIT)
    where = _core.Start(
        vm=process._vm,
        vcpu=process.vcpu,
        process=process.pid,
        runs=checks.integer(runs, "runs", 1, 10**6),
        limit=most,
    )
    largest = parse_largest(page, "page")
    if isinstance(program, Workload):
        own = program.stream(1, process._vm, process.pid)
        chosen = own if seed is None else checks.integer(seed, "seed", 0, checks.WORD - 1)
        return Program(core, program.start(core, where, chosen, largest))
    return Program(core, _start_trace(core, where, program, parse_duration(compute, "compute"), largest))


def _start_trace(
    core: _core.Machine, where: _core.Start, program: Trace | Arrays, compute: int, page: int
) -> int:
    from vmem.replay import as_trace

    trace = as_trace(program)
    areas = [("mmap", first, length, protection(prot), trace.name) for first, length, prot in trace.regions()]
    return core.start_trace(where, areas=areas, open=_items(trace), compute=compute, page=page)


def _items(trace: Trace) -> Callable[[], Iterator[Any]]:
    """A function that begins the trace anew, as the core takes it."""
    from vmem.traces import MapEvent, References

    def begin() -> Iterator[Any]:
        for item in trace.items():
            if isinstance(item, MapEvent):
                prot = protection("-" if item.prot in ("", "none") else item.prot)
                yield (item.kind, item.start, item.length, prot, item.name)
            elif isinstance(item, References):
                yield (item.addresses, item.kinds)
            else:
                yield item

    return begin


def accept_cpus(cpus: int | None) -> int:
    """As the core takes it: 0 for None, a physical CPU for every vCPU."""
    return 0 if cpus is None else checks.integer(cpus, "cpus", 1, 10**6)


def accept_quantum(quantum: Duration) -> int:
    """Nanoseconds."""
    nanoseconds = parse_duration(quantum, "quantum")
    if not 1000 <= nanoseconds <= 10**9:
        raise ConfigError(f"quantum: {quantum!r}; accepted is from 1 us to 1 s")
    return nanoseconds
