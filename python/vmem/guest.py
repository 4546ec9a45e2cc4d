"""The guest operating system: processes and their memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vmem import _core, checks, files
from vmem.errors import ConfigError, SegmentationFault
from vmem.sizes import Size, parse_largest, parse_size
from vmem.summary import Summary, from_core

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from vmem.balloon import BalloonDriver
    from vmem.durations import Duration
    from vmem.files import File
    from vmem.programs import Program
    from vmem.scenario.workloads import Workload
    from vmem.traces import Trace

UNMAPPED = np.uint64(0xFFFF_FFFF_FFFF_FFFF)

Progress = Callable[[int], None] | None


@dataclass(frozen=True)
class Mapping:
    """A mapped range of a process: addresses `start` to `end` (exclusive), `length` bytes."""

    start: int
    end: int
    prot: str
    name: str = ""

    @property
    def length(self) -> int:
        return self.end - self.start


def protection(prot: str) -> tuple[bool, bool, bool]:
    """(read, write, execute) of "rw", "-" and the like."""
    letters = set(prot) - {"-"} if isinstance(prot, str) else {"?"}
    if letters - set("rwx") or prot == "":
        raise ConfigError(
            f"prot: {prot!r}; accepted are combinations of 'r', 'w', 'x', such as 'rw', or '-' for none"
        )
    return ("r" in letters, "w" in letters, "x" in letters)


class Process:
    """A process of a guest: made by `Guest.spawn` or `fork`. After `exit` every use raises ConfigError."""

    def __init__(self, core: _core.Machine, vm: int, pid: int, name: str, vcpu: int = 0) -> None:
        self._core = core
        self._vm = vm
        self.pid = pid
        self.name = name
        self.vcpu = vcpu

    @property
    def vcpu(self) -> int:
        """Index of the vCPU that its accesses and system calls run on; may be set."""
        return self._vcpu

    @vcpu.setter
    def vcpu(self, index: int) -> None:
        self._vcpu = checks.integer(index, "vcpu", 0, self._core.vcpu_count(self._vm) - 1)

    @property
    def _where(self) -> tuple[int, int, int]:
        return (self._vm, self._vcpu, self.pid)

    def mmap(
        self,
        length: Size,
        *,
        prot: str = "rw",
        at: int | None = None,
        page: str = "4KiB",
        name: str = "",
        file: File | None = None,
        offset: Size = 0,
        shared: bool = False,
    ) -> Mapping:
        """Maps memory, demand-paged. `at` fixes the address (must be free and page-aligned).

        `page` is the largest page of the guest's table ("4KiB", "2MiB", "1GiB"; "auto" is 2 MiB where
        aligned); where no such frame is free the kernel uses smaller ones. Without a `file` the memory is
        anonymous; with one it shows the file from `offset` (a multiple of 4096) on, and stores go to the file
        if it is `shared`, otherwise to private copies.
        """
        size = parse_size(length, "mmap length")
        if not 0 < size <= 1 << 56:
            raise ConfigError(f"mmap length: {size} bytes; accepted is a positive length up to 2**56")
        largest = parse_largest(page, "mmap page")
        where = None if at is None else checks.address(at, "mmap at")
        label = checks.text(name, "mmap name", empty=True)
        mapped = None if file is None else (file.number, parse_size(offset, "mmap offset"), bool(shared))
        start, end = self._core.mmap(*self._where, size, protection(prot), where, largest, label, mapped)
        return Mapping(start, end, prot, name)

    def stack(self, limit: Size = "8MiB") -> Mapping:
        """A stack of 132 KiB that grows down as it is touched, up to `limit`; a gap below it stays free."""
        start, end = self._core.map_stack(self._vm, self.pid, parse_size(limit, "stack limit"))
        return Mapping(start, end, "rw", "[stack]")

    def _range(self, where: Mapping | int, length: Size | None, call: str) -> tuple[int, int]:
        if isinstance(where, Mapping):
            return where.start, where.length if length is None else parse_size(length, f"{call} length")
        if length is None:
            raise ConfigError(f"{call}: give a Mapping, or an address and a length")
        return checks.address(where, call), parse_size(length, f"{call} length")

    def munmap(self, where: Mapping | int, length: Size | None = None) -> None:
        """Unmaps a Mapping, or `length` bytes at an address. The frames go to the guest's free lists, not
        to the host.
        """
        self._core.munmap(*self._where, *self._range(where, length, "munmap"))

    def mprotect(self, where: Mapping | int, prot: str, length: Size | None = None) -> None:
        """Changes the protection of a Mapping, or of `length` bytes at an address."""
        self._core.mprotect(*self._where, *self._range(where, length, "mprotect"), protection(prot))

    def madvise(self, where: Mapping | int, advice: str, length: Size | None = None) -> None:
        """Advice for a Mapping, or for `length` bytes at an address.

        "dontneed": the pages are gone, and read as zeros when they are touched again. "hugepage",
        "nohugepage": whether faults there may give pages of 2 MiB from now on.
        """
        start, size = self._range(where, length, "madvise")
        match checks.one_of(advice, "madvise advice", ("dontneed", "hugepage", "nohugepage")):
            case "dontneed":
                self._core.discard(*self._where, start, size)
            case "hugepage":
                self._core.advise_page_size(self._vm, self.pid, start, size, 1)
            case _:
                self._core.advise_page_size(self._vm, self.pid, start, size, 0)

    def brk(self, end: int = 0) -> int:
        """Moves the end of the heap; 0 asks for it. Returns the end."""
        return self._core.brk(*self._where, checks.address(end, "brk"))

    def fork(self) -> Process:
        """A child with a copy-on-write copy of this address space."""
        return Process(self._core, self._vm, self._core.fork(*self._where), self.name, self.vcpu)

    def exit(self) -> None:
        """Ends the process. Its frames go to the guest's free lists, not to the host."""
        self._core.exit(*self._where)

    def mappings(self) -> list[Mapping]:
        """The areas of the address space, ascending."""
        return [
            Mapping(start, end, "".join(c for c, on in zip("rwx", bits, strict=True) if on) or "-", name)
            for start, end, bits, name in self._core.areas(self._vm, self.pid)
        ]

    @property
    def page_table_root(self) -> int:
        """Guest-physical address of the root of this process's page table."""
        return self._core.page_table_root(self._vm, self.pid) * 4096

    @property
    def resident(self) -> int:
        """Bytes its page table maps."""
        return self._core.process_resident(self._vm, self.pid)

    @property
    def swapped(self) -> int:
        """Bytes that lie in the guest's swap."""
        return self._core.process_memory(self._vm, self.pid)["VmSwap"]

    @property
    def is_killed(self) -> bool:
        """The guest's kernel has killed it for want of memory."""
        return bool(self._core.process_memory(self._vm, self.pid)["killed"])

    @property
    def oom_score_adj(self) -> int:
        """Thousandths of the guest's memory, -1000 to 1000, added to its score when the kernel has to kill
        somebody; -1000: never it. May be set.
        """
        return self._core.process_memory(self._vm, self.pid)["oom_score_adj"]

    @oom_score_adj.setter
    def oom_score_adj(self, value: int) -> None:
        adjustment = checks.integer(value, "oom_score_adj", -1000, 1000)
        self._core.set_oom_score_adj(self._vm, self.pid, adjustment)

    def read(self, address: int, length: Size) -> bytes:
        """Real bytes through the MMU, one access a page. SegmentationFault where the kernel says SIGSEGV."""
        result = self._core.read(
            *self._where, checks.address(address, "read"), parse_size(length, "read length")
        )
        if isinstance(result, int):
            raise SegmentationFault(result, "load")
        return result

    def write(self, address: int, data: Buffer) -> None:
        """Real bytes through the MMU, one access a page. SegmentationFault where the kernel says SIGSEGV;
        the pages before it are written.
        """
        fault = self._core.write(*self._where, checks.address(address, "write"), data)
        if fault is not None:
            raise SegmentationFault(fault, "store")

    def access(
        self, addresses: npt.NDArray[np.uint64], kinds: npt.NDArray[np.uint8], *, progress: Progress = None
    ) -> Summary:
        """One access per element: uint64[n] addresses, uint8[n] kinds (0 load, 1 store, 2 fetch); faults
        are served.

        `progress(done)` is called about 20 times a second. ConfigError for other dtypes, shapes or kinds.
        """
        return from_core(self._core.access(*self._where, addresses, kinds, progress))

    def translate(self, addresses: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Machine addresses for uint64[n] guest-virtual ones, UNMAPPED where there is none; changes
        nothing.
        """
        return self._core.translate(*self._where, addresses)

    def load(
        self, trace: Trace | tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]], *, page: str = "4KiB"
    ) -> list[Mapping]:
        """Maps what a trace touches and this process does not yet map; a trace that carries its own
        mapping events brings its own calls.
        """
        from vmem.replay import load

        return load(self, trace, page=page)

    def run(
        self,
        trace: Trace | tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]],
        limit: int | None = None,
        *,
        page: str = "4KiB",
        progress: Progress = None,
    ) -> Summary:
        """Replays a trace (or `(addresses, kinds)`), at most `limit` references of it; mapping events
        become system calls.

        `page` is the largest page of what those events map, as in `mmap`. `vmem.replay.Replay` does the
        same in steps.
        """
        from vmem.replay import run

        return run(self, trace, limit, page=page, progress=progress)

    def start(
        self,
        program: Workload | Trace | tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]],
        *,
        seed: int | None = None,
        compute: Duration = "1us",
        runs: int = 1,
        limit: int | None = None,
        page: str = "4KiB",
    ) -> Program:
        """Gives the process a program, which goes on whenever `Hypervisor.run` lets time pass.

        `program` is a workload (`vmem.workload("zipf", size="64MiB")`) or a trace. It maps what it needs;
        when it ends the process exits. Further `runs` are processes of their own; `limit` bounds the
        references of all. `compute` is the time on a CPU that a trace's program takes between two
        references; a workload has its own. `seed` is a workload's: if not given, it follows from the
        workload's own, the VM and the process.
        """
        from vmem.programs import start

        return start(self, program, seed=seed, compute=compute, runs=runs, limit=limit, page=page)

    def __repr__(self) -> str:
        return f"<Process {self.pid} {self.name!r}>"


class Guest:
    """A guest kernel, seen as a user of it sees it."""

    def __init__(self, core: _core.Machine, vm: int) -> None:
        self._core = core
        self._vm = vm
        self._balloon_driver: BalloonDriver | None = None

    @property
    def balloon_driver(self) -> BalloonDriver | None:
        """The driver of the memory balloon, None without one. Assign a `BalloonDriver` to replace it."""
        return self._balloon_driver

    @balloon_driver.setter
    def balloon_driver(self, driver: BalloonDriver) -> None:
        from vmem.balloon import BalloonDriver

        if not isinstance(driver, BalloonDriver):
            raise ConfigError(f"balloon_driver: {driver!r}; accepted is a BalloonDriver")
        if self._balloon_driver is None:
            raise ConfigError(
                "balloon_driver: this guest has no balloon; create_vm(balloon=True) gives it one"
            )
        driver._attach(self._core, self._vm)
        self._core.set_balloon_driver(self._vm, driver)
        self._balloon_driver = driver

    def spawn(self, name: str = "process", *, vcpu: int = 0) -> Process:
        """A process with an empty address space."""
        checks.integer(vcpu, "vcpu", 0, self._core.vcpu_count(self._vm) - 1)
        pid = self._core.spawn(self._vm, checks.text(name, "process name", empty=True))
        return Process(self._core, self._vm, pid, name, vcpu)

    def create_file(self, name: str, size: Size) -> File:
        """A file on the guest's disk (`create_vm(disk=...)`), in one piece, with what the disk holds there.

        ConfigError: no disk, no size, or the name is taken. OutOfMemory: no such piece of the disk is free.
        """
        return files.create(self._core, self._vm, name, size)

    @property
    def files(self) -> list[File]:
        """All of them, oldest first."""
        return files.every(self._core, self._vm)

    @property
    def swap_detects_zeros(self) -> bool:
        """Whether its kernel looks for pages of zeros, which it does not write to its swap, as Linux 6.12.

        True unless you set it. Stores of `Process.access` and of programs have no bytes, so that every page
        of theirs reads as zeros: set it to False where swapping them should cost what data costs.
        """
        return self._core.swap_detects_zeros(self._vm)

    @swap_detects_zeros.setter
    def swap_detects_zeros(self, detects: bool) -> None:
        self._core.set_swap_detects_zeros(self._vm, checks.flag(detects, "swap_detects_zeros"))

    def drop_caches(self) -> None:
        """Gives up every clean page of files that no process maps."""
        self._core.drop_caches(self._vm)

    def meminfo(self) -> dict[str, int]:
        """/proc/meminfo: Linux's names and meanings, in bytes.

        `MemTotal MemFree MemAvailable Buffers Cached SwapCached Active Inactive Active(anon) Inactive(anon)
        Active(file) Inactive(file) SwapTotal SwapFree Dirty Writeback AnonPages PageTables AnonHugePages`.
        As in Linux, MemFree leaves out what lies in per-CPU lists (`zoneinfo`).
        """
        return self._core.guest_meminfo(self._vm)

    @property
    def free(self) -> int:
        """Bytes that nobody has: MemFree, and what lies in per-CPU lists."""
        in_lists: int = sum(zone["pcp"] for zone in self.zoneinfo().values())
        return self.meminfo()["MemFree"] + in_lists * 4096

    def zoneinfo(self) -> dict[str, dict[str, Any]]:
        """/proc/zoneinfo and /proc/buddyinfo of each zone that has memory, in frames of 4 KiB.

        By name (DMA, DMA32, Normal): `managed free`, the watermarks `min low high`, `protection` (frames kept
        from allocations that could use a higher zone), `pcp` (in per-CPU lists), `blocks` (free blocks in the
        list of each order; memory never used yet is in no list).
        """
        return self._core.zoneinfo(self._vm)

    def pressure(self) -> dict[str, dict[str, float]]:
        """/proc/pressure/memory: `some` and `full`, each `avg10 avg60 avg300` (percent), `total` (us)."""
        return self._core.pressure(self._vm)

    def vmstat(self) -> dict[str, int]:
        """Linux's names: events since boot."""
        return self._core.vmstat(self._vm)


def batch(
    addresses: Iterable[int], kinds: Iterable[int] | int = 0
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[Any]]:
    """Arrays of the right types from any integers: `proc.access(*vmem.batch([a, b], 1))`."""
    array = np.fromiter(addresses, np.uint64)
    return array, np.full(len(array), kinds, np.uint8) if isinstance(kinds, int) else np.fromiter(
        kinds, np.uint8
    )
