"""The host and its virtual machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from vmem import _core, checks
from vmem.balloon import Balloon, BalloonDriver, accept_balloon
from vmem.cpu import Cpu, resolve_cpu
from vmem.disk import Disk, accept_disk
from vmem.durations import Duration, parse_duration
from vmem.errors import ConfigError
from vmem.events import Event
from vmem.guest import Guest, Progress
from vmem.host_memory import BackedVm, swap_directory
from vmem.host_process import HostProcess
from vmem.programs import RunSummary, VmTime, accept_cpus, accept_quantum
from vmem.reclaim import HostReclaim
from vmem.sizes import Size, parse_largest, parse_size
from vmem.ways import Reclaim, accept_way

if TYPE_CHECKING:
    from vmem.explain import Explanation
    from vmem.guest import Process

_MODES = ("native", "nested", "shadow", "software-tlb")
_RECLAIM = HostReclaim()
_SYNCS = ("trace", "unsync", "vtlb")
MmuMode = Literal["native", "nested", "shadow", "software-tlb"]
ShadowSync = Literal["trace", "unsync", "vtlb"]
Backing = Literal["4KiB", "2MiB", "1GiB", "auto"]
OnFree = Literal["keep", "zero", "poison"]
Admission = Literal["none", "esx"]
_ADMISSIONS = ("none", "esx")


class Vcpu:
    """One virtual processor of a VM."""

    def __init__(self, vm: Vm, index: int) -> None:
        self._vm = vm
        self.index = index

    def counters(self) -> dict[str, int]:
        """Every counter of this vCPU since the VM was created."""
        return self._vm._core.vcpu_counters(self._vm._id, self.index)

    def flush_tlb(self) -> None:
        """Drops everything its TLBs and paging-structure caches hold."""
        self._vm._core.flush_tlb(self._vm._id, self.index)

    def __repr__(self) -> str:
        return f"<vCPU {self.index} of {self._vm!r}>"


class Vm(BackedVm):
    """A virtual machine: made by `Hypervisor.create_vm`."""

    def __init__(
        self, core: _core.Machine, vm_id: int, name: str, memory: int, mmu: str, vcpus: int, cpu: Cpu
    ) -> None:
        self._core = core
        self._id = vm_id
        self.name = name
        self.memory = memory
        self.mmu = mmu
        self.cpu = cpu
        self.vcpus = [Vcpu(self, index) for index in range(vcpus)]
        self.guest = Guest(core, vm_id)
        self.disk: Disk | None = None
        self.balloon: Balloon | None = None

    @property
    def resident(self) -> int:
        """Bytes of this VM that have a machine frame now. A native machine owns all of its memory."""
        return self._core.resident(self._id)

    def counters(self) -> dict[str, int]:
        """Every counter, summed over the vCPUs."""
        return self._core.counters(self._id)

    def stat(self) -> dict[str, int]:
        """Since its creation: pages that the host `swapped_out` and `swapped_in`, large pages it `split`."""
        return self._core.vm_stat(self._id)

    def free_hints(self) -> dict[str, int]:
        """Of a guest that names what it frees (`reclaim="hypercall"`), since it was created.

        `calls`, `blocks` in them, their `pages`, machine frames `discarded` for them, blocks `refused`.
        """
        return self._core.free_hint_stat(self._id)

    def scans(self) -> dict[str, int]:
        """Of a guest whose free lists the host looks through (`reclaim="scan"`), since it was created.

        `scans`; `unreadable` ones; page `entries` read; free pages `found`; machine frames `discarded`; pages
        `raced`, whose block was another when it was to be taken, which a host that did not look again would
        have destroyed; nanoseconds of the host's CPUs `host_ns`, and of the vCPUs' pauses `paused_ns`.
        """
        return self._core.scan_stat(self._id)

    def explain(self, process: Process, address: int, kind: str = "load") -> Explanation:
        """Makes one access and tells every step of it: `print` the result, or look at its `.steps`."""
        from vmem.explain import explain

        return explain(self, process, address, kind)

    def sample_activity(self, pages: int = 100) -> tuple[int, int]:
        """Draws `pages` of its memory, of which the hypervisor will see whether the guest touches them.

        Returns of the sample before how many were touched, and how many it had: (0, 0) for the first.
        As ESX does it (Waldspurger, OSDI 2002, section 5.3). ConfigError for a VM that is native or has a
        software-managed TLB.
        """
        return self._core.sample_activity(self._id, checks.integer(pages, "pages", 1, 2**40))

    @property
    def sampled_activity(self) -> tuple[int, int]:
        """Of the sample that `sample_activity` has begun: how many were touched so far, how many it has."""
        return self._core.sampled_activity(self._id)

    def time(self) -> VmTime:
        """What its vCPUs' time has gone to since it was created."""
        return VmTime(*self._core.vm_progress(self._id))

    @property
    def paused(self) -> bool:
        """While True, its programs, timers and devices' drivers stand still as the host's time passes.

        Its clock is the host's and goes on: what fell due is done late, at the end of the pause. Calls of its
        processes are made by you and are made all the same.
        """
        return self._core.is_paused(self._id)

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._core.set_paused(self._id, checks.flag(paused, "paused"))

    def read_physical(self, address: int, length: Size) -> bytes:
        """Guest-physical memory as the hypervisor knows it: zeros where it never gave any.

        Backs nothing, and brings nothing in from the host's swap.
        """
        return self._core.read_physical(
            self._id, checks.address(address, "read_physical"), parse_size(length, "read_physical length")
        )

    def write_physical(self, address: int, data: bytes) -> None:
        """Stores to guest-physical memory as the guest's kernel would, write tracing and backing included."""
        self._core.write_physical(self._id, checks.address(address, "write_physical"), bytes(data))

    def migrate(self, address: int) -> bool:
        """Moves the guest frame at a guest-physical address to another machine frame, unseen by the guest.

        False if it has no machine frame, shares it, or the host has none to spare. A native machine's memory
        never moves.
        """
        return self._core.migrate(self._id, checks.address(address, "migrate"))

    def __repr__(self) -> str:
        return f"<Vm {self.name!r}, {self.mmu}, {self.memory >> 20} MiB>"


class Hypervisor:
    """A host: machine memory and the VMs on it.

    `memory` is the machine's RAM (bytes or a string); it costs the simulating machine only what is written.
    `swap` is what the host may swap out of its guests' memory, to a file in `swap_dir` (None: the system's
    directory for temporary files) that nobody else can open and that is gone afterwards; it takes of the disk
    only what guests have written. A vCPU waits `swap_read_time` for a page to come back.
    `reclaim` says when and what it takes from its VMs. `admission` "esx" refuses a VM unless its reservation
    and `vm_overhead` fit into RAM beside the others', and the rest of its memory into the swap.
    `cpu` is the default processor of VMs: a preset's name or a `vmem.Cpu`. `ghz` is the frequency by which
    cycles become time. vCPUs that run programs share `cpus` physical CPUs (None: each has its own) in turns
    of a `quantum`. Not for use from two threads at once (ConfigError).
    """

    def __init__(
        self,
        memory: Size = "4GiB",
        *,
        swap: Size = 0,
        swap_dir: str | os.PathLike[str] | None = None,
        swap_read_time: Duration = "100us",
        reclaim: HostReclaim = _RECLAIM,
        admission: Admission = "none",
        vm_overhead: Size = "32MiB",
        cpu: Cpu | str = "skylake-sp",
        ghz: float = 3.0,
        cpus: int | None = None,
        quantum: Duration = "3ms",
        seed: int = 1,
    ) -> None:
        self.cpu = resolve_cpu(cpu)
        self.seed = checks.integer(seed, "seed", 0, checks.WORD - 1)
        enter, leave = reclaim.thousandths()
        config = _core.HostConfig(
            swap=parse_size(swap, "host swap"),
            swap_dir=swap_directory(swap_dir),
            swap_read_time=parse_duration(swap_read_time, "swap_read_time"),
            enter=enter,
            leave=leave,
            victims=reclaim.accepted_victims(),
            period=reclaim.accepted_period(),
            seed=self.seed,
            admission=checks.one_of(admission, "admission", _ADMISSIONS),
            overhead=parse_size(vm_overhead, "vm_overhead"),
            asks_balloons=checks.flag(reclaim.balloons, "balloons of host reclaim"),
        )
        self._core = _core.Machine(parse_size(memory, "host memory"), config)
        self._core.set_frequency(_khz(ghz))
        self._core.set_cpus(accept_cpus(cpus))
        self._core.set_quantum(accept_quantum(quantum))
        self._vms: dict[str, Vm] = {}

    @property
    def now(self) -> int:
        """Simulated time since the host was switched on, in nanoseconds. Calls of processes take time."""
        return self._core.now()

    def advance(self, duration: Duration, *, progress: Progress = None) -> None:
        """Lets simulated time pass: "2s", "150ms", or nanoseconds.

        Interrupts are delivered and guests' and hypervisor's daemons run, each at its time
        (docs/design/time.md). `progress(nanoseconds)` is called about 20 times a second.
        """
        self._core.advance(parse_duration(duration, "advance"), progress)
        self._raise_failures()

    def run(
        self, duration: Duration, *, references: int | None = None, progress: Progress = None
    ) -> RunSummary:
        """Lets simulated time pass, in which the programs that processes were given (`Process.start`) run.

        Ends when the time is up or all programs have ended, or when those on this host have made so many
        `references` in all. `progress(nanoseconds)` is called about 20 times a second.
        """
        before, began = self._vm_times(), self.now
        goal = 2**64 - 1 if references is None else checks.integer(references, "references", 0, 2**64 - 1)
        ended = self._core.run(parse_duration(duration, "run"), goal, progress)
        self._raise_failures()
        after = self._vm_times()
        return RunSummary(
            self.now - began,
            "programs" if ended == "tasks" else ended,
            {name: time - before[name] for name, time in after.items()},
        )

    def _raise_failures(self) -> None:
        for vm in self:
            if vm.guest.balloon_driver is not None:
                vm.guest.balloon_driver._raise_failure()

    def _vm_times(self) -> dict[str, VmTime]:
        return {vm.name: vm.time() for vm in self}

    def events(self) -> list[Event]:
        """What happened on this host and in its guests' kernels, in the order of its time."""
        return [Event(*event) for event in self._core.events()]

    def log(self, kind: str, subject: str, **numbers: int) -> None:
        """Adds an event of your own to `events()`, at this time.

        `subject` is the name of the VM that it is about, or "host". ConfigError for a number that is no whole
        one from 0 to 2**64 - 1.
        """
        checked = [(name, checks.integer(value, name, 0, checks.WORD - 1)) for name, value in numbers.items()]
        self._core.add_event(checks.text(kind, "kind of event"), checks.text(subject, "subject"), checked)

    @property
    def vms(self) -> MappingProxyType[str, Vm]:
        """The VMs by name, in order of creation."""
        return MappingProxyType(self._vms)

    def __iter__(self) -> Iterator[Vm]:
        return iter(self._vms.values())

    def create_vm(
        self,
        name: str,
        *,
        memory: Size,
        vcpus: int = 1,
        mmu: MmuMode = "nested",
        backing: Backing = "4KiB",
        cpu: Cpu | str | None = None,
        sync: ShadowSync = "trace",
        shadow_pages: int = 0,
        direct_faults: bool = False,
        software_tlb: int = 0,
        reservation: Size = 0,
        limit: Size | None = None,
        shares: int = 1000,
        disk: Size | None = None,
        swap: Size | None = None,
        balloon: bool | Mapping[str, bool] | None = None,
        reclaim: Reclaim = "swap",
        scan_period: Duration = "10s",
        scan_pauses: bool = True,
        on_free: OnFree = "keep",
    ) -> Vm:
        """A new VM with a booted guest kernel.

        `mmu` "native" is a machine of its own without a hypervisor (its memory is taken from the host at
        once, contiguous); "nested" translates in two dimensions; "shadow" keeps tables gVA to hPA, in
        step with the guest's by `sync` (docs/design/shadow.md), of at most `shadow_pages` pages (0: one for
        every fifty guest frames, at least 64), and with `direct_faults` lets not-present faults that are the
        guest's reach it without an exit; "software-tlb" has no page walker: the guest's kernel refills
        the TLB, by way of the hypervisor, which may keep a second-level TLB of `software_tlb` entries for
        each vCPU, a multiple of 4 (docs/design/software-tlb.md). `backing` is the largest page the host backs
        guest memory with; "auto" is 2 MiB where aligned and free. The host never reclaims the VM's
        `reservation`, gives it no more machine memory than its `limit` while its swap takes the rest, and
        reclaims first from VMs that hold the most for their `shares`. `disk` gives it a virtual disk of that
        size (a multiple of 4 KiB; `Vm.disk`), `swap` a second one of the same kind for the guest to swap to,
        `balloon` a memory balloon (`Vm.balloon`): True, or features by name
        (`statistics must_tell_host deflate_on_oom free_page_hint page_poison free_page_reporting`; the first
        and page_poison are on if nothing is said). `reclaim` is the way in which the
        host gets memory back besides its swap (`vmem.ways.WHAT`); "none" keeps it from swapping, too. A scan
        looks every `scan_period`, the vCPUs standing still if it `scan_pauses`. `on_free` is what the guest's
        kernel does with the bytes of pages that are freed: "zero" (Linux's init_on_free), "poison" (0xaa,
        page_poison) or nothing. ConfigError, OutOfMemory.
        """
        if checks.text(name, "VM name") in self._vms:
            raise ConfigError(f"VM name: {name!r} is taken; this host has {', '.join(self._vms)}")
        processor = self.cpu if cpu is None else resolve_cpu(cpu)
        size = parse_size(memory, f"memory of VM {name!r}")
        largest = parse_largest(backing, "backing")
        disk_bytes = accept_disk(disk, name)
        way = accept_way(reclaim, balloon, scan_period, scan_pauses, name)
        features = accept_balloon(way.balloon, name)
        vm_id = self._core.create_vm(
            name=name,
            memory=size,
            vcpus=checks.integer(vcpus, "vcpus", 1, 255),
            mmu=checks.one_of(mmu, "mmu", _MODES),
            backing=largest,
            cpu=processor._core(),
            sync=checks.one_of(sync, "sync", _SYNCS),
            shadow_pages=checks.integer(shadow_pages, "shadow_pages", 0, 2**32),
            direct_faults=checks.flag(direct_faults, "direct_faults"),
            software_tlb=checks.integer(software_tlb, "software_tlb", 0, 2**24),
            reservation=parse_size(reservation, f"reservation of VM {name!r}"),
            limit=0 if limit is None else parse_size(limit, f"limit of VM {name!r}"),
            shares=checks.integer(shares, f"shares of VM {name!r}", 1, 1_000_000),
            disk=disk_bytes,
            swap=accept_disk(swap, name, "swap"),
            balloon=features,
            free_calls=way.free_calls,
            scan_period=way.scan_period,
            scan_pauses=way.scan_pauses,
            can_be_swapped=way.can_be_swapped,
            on_free=checks.one_of(on_free, "on_free", ("keep", "zero", "poison")),
        )
        self._vms[name] = vm = Vm(self._core, vm_id, name, size, mmu, vcpus, processor)
        vm.disk = Disk(self._core, vm_id, disk_bytes) if disk_bytes else None
        if features is not None:
            vm.balloon = Balloon(self._core, vm_id)
            vm.guest._balloon_driver = BalloonDriver()
            vm.guest._balloon_driver._attach(self._core, vm_id)
        return self._vms[name]

    def destroy_vm(self, vm: Vm) -> None:
        """Stops the VM and gives its memory back. ConfigError if it is not this host's."""
        if not isinstance(vm, Vm) or self._vms.get(vm.name) is not vm:
            raise ConfigError(f"{vm!r} is not a VM of this host")
        self._core.destroy_vm(vm._id)
        del self._vms[vm.name]

    def create_process(self, name: str, memory: Size = 0) -> HostProcess:
        """A program of the host itself, with so much machine memory, taken from VMs if it must be.

        ConfigError, OutOfMemory.
        """
        size = parse_size(memory, f"memory of host process {name!r}")
        process_id = self._core.create_process(checks.text(name, "name of a host process"), size)
        return HostProcess(self._core, process_id, name)

    @property
    def state(self) -> str:
        """How short of memory the host was when it last looked: high, soft, hard or low."""
        return self._core.host_state()

    def meminfo(self) -> dict[str, int]:
        """Bytes: `total free used tables processes committed swap_total swap_used shared`, `resident.<vm>`.

        `shared` is guest memory that is backed by frames which other guest memory shares.
        """
        info = self._core.meminfo()
        return info | {f"resident.{vm.name}": vm.resident for vm in self}

    def share(self) -> int:
        """Looks once at all guest memory and gives pages with the same bytes one machine frame between them.

        Within a VM and between VMs; copied again when a guest stores to one. Pages of 4 KiB only
        (`Vm.split`).
        Returns how many guest frames gave up their machine frame.
        """
        return self._core.share()

    def stat(self) -> dict[str, int]:
        """Pages since the host was switched on: swapped, merged, copied, cut (reference/host-memory.md)."""
        return self._core.host_stat()

    @property
    def ghz(self) -> float:
        """The frequency by which cycles become time."""
        return self._core.frequency() / 1e6

    @property
    def costs(self) -> dict[str, int]:
        """The cost model: cycles by name (docs/reference/costs.md). A copy; change it with `set_cost`."""
        return self._core.costs()

    def set_cost(self, name: str, cycles: int) -> None:
        """Sets one cost. ConfigError names the known ones."""
        if name not in _core.COSTS:
            raise ConfigError(f"unknown cost {name!r}, known are {', '.join(_core.COSTS)}")
        self._core.set_cost(name, checks.integer(cycles, f"cost {name!r}", 0, 2**63 - 1))

    def check(self) -> None:
        """Checks every invariant of host and guests; InvariantError names the first broken one."""
        self._core.check()


def _khz(ghz: float) -> int:
    if isinstance(ghz, bool) or not isinstance(ghz, int | float) or not 0.001 <= ghz <= 100:
        raise ConfigError(f"ghz: {ghz!r}; accepted is a number from 0.001 to 100")
    return round(ghz * 1e6)
