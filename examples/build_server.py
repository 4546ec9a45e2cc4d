"""A build server, in a VM: memory over time under four ways to get it back. Which should it have?

Compilers come and go, the page cache grows, a linker needs the most near the end. The course is that of
building clang in a VM of 16 GiB (HyperAlloc, EuroSys 2025), at 1/16 of its size and 1/12 of its time.

Run it with: python examples/build_server.py
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

import vmem
from vmem.measures import cycles_by_cause
from vmem.policies import Controller, Limits
from vmem.policies.views import HostView, VmView

MIB = 1 << 20
MEMORY = 1024 * MIB
SECONDS = 206
"""41.2 minutes, in a twelfth of the time."""
WAYS = {
    "nothing": "none",
    "balloon": "balloon",
    "reporting": "reporting",
    "hypercalls": "hypercall-batched",
}


@dataclass
class LastMinute:
    """A policy of the kind that people write: what a guest used at most in the last minute, and some."""

    spare: int = 256 * MIB
    seen: list[int] = field(default_factory=list)

    def decide(self, host: HostView, vms: Sequence[VmView]) -> Mapping[str, float]:
        for vm in vms:
            if vm.free is not None:
                self.seen = [*self.seen[-29:], vm.stats["stat-total-memory"] - vm.free]
        return {vm.name: max(self.seen) + self.spare for vm in vms if self.seen}


@dataclass(frozen=True)
class Course:
    """Of one build."""

    resident: list[int]
    """Bytes, second by second."""
    used: list[int]
    """Bytes that the guest's programs, cache and kernel had."""
    waiting: float
    """Seconds that vCPUs waited for disk or swap."""
    giving_back: float
    """Seconds of CPU time that giving memory back took."""
    work: int
    """References made."""

    @property
    def mean(self) -> float:
        """Bytes: the integral of resident memory, divided by the time."""
        return sum(self.resident) / len(self.resident)


def compilers(seed: int) -> list[list[str]]:
    """A demand curve: one compiler after the other, each growing in three steps."""
    draw = random.Random(seed)
    rows, now = [["0s", "4MiB", "4MiB"]], draw.uniform(0.1, 4)
    while now < 165:
        size, takes = draw.choice((50, 90, 120, 150, 180, 220)), draw.uniform(6, 16)
        for part, grown in enumerate((0.3, 0.6, 1.0)):
            rows.append([f"{int(1e3 * (now + takes * part / 3))}ms", *[f"{int(size * grown)}MiB"] * 2])
        now += takes
        rows.append([f"{int(1e3 * now)}ms", "4MiB", "4MiB"])
        now += 0.2
    return rows


LINKER = [
    ["0s", "1MiB", "1MiB"],
    ["168s", "250MiB", "250MiB"],
    ["176s", "500MiB", "500MiB"],
    ["196s", "1MiB", "1MiB"],
]


def build(vm: vmem.Vm) -> list[vmem.programs.Program]:
    """Starts all programs of a build: four compilers at a time, the linker, and files read and written."""
    curves = [compilers(seed) for seed in range(4)] + [LINKER]
    programs = [
        vm.guest.spawn("cc").start(vmem.workload("demand", curve=curve, compute="1ms")) for curve in curves
    ]
    files = vmem.workload(
        "file-scan", size="420MiB", step=4096, references=107_520, writes=0.2, compute="1850us"
    )
    return [*programs, vm.guest.spawn("files").start(files)]


def touch(vm: vmem.Vm, size: int) -> None:
    """What the VM did before: it touched so much, and freed it."""
    before = vm.guest.spawn("before")
    mapping = before.mmap(size)
    pages = np.arange(mapping.start, mapping.end, 4096, dtype=np.uint64)
    before.access(pages, np.ones(len(pages), np.uint8))
    before.exit()


def course(way: str) -> Course:
    """A build with one way to give memory back, on a host with plenty."""
    host = vmem.Hypervisor("2GiB")
    vm = host.create_vm("build", memory=MEMORY, vcpus=4, swap="1GiB", disk="1GiB", reclaim=WAYS[way])
    vm.guest.swap_detects_zeros = False
    touch(vm, 1000 * MIB)
    programs = build(vm)
    controller = None
    if way == "balloon":
        controller = Controller(host, LastMinute(), "2s", {vm.name: Limits(128 * MIB)})
    resident, used, began = [], [], vm.time()
    for _ in range(SECONDS):
        if controller is None:
            host.run("1s")
        else:
            controller.run("1s")
        resident.append(vm.resident)
        used.append(vm.guest.meminfo()["MemTotal"] - vm.guest.free)
    host.check()
    causes = cycles_by_cause(vm.counters(), host.costs)
    return Course(
        resident,
        used,
        (vm.time() - began).waiting / 1e9,
        (causes["reclaim"] + causes["exit"]) / 3e9,
        sum(program.references for program in programs),
    )


def picture(resident: Sequence[int]) -> str:
    """Resident memory over time, in eighths of the VM's."""
    return "".join("▁▂▃▄▅▆▇█"[min(7, size * 8 // MEMORY)] for size in resident[2::5])


def tell(courses: Mapping[str, Course]) -> None:
    """A table with pictures, and what to do."""
    whole, told, asked = courses["nothing"], courses["reporting"], courses["balloon"]
    print(f"{'':10}  {'GiB min':>7} {'of peak':>7} {'waited':>7} {'CPU':>6}  resident, over {SECONDS} s")
    for way, found in courses.items():
        print(
            f"{way:10}  {found.mean / (1 << 30) * SECONDS / 60:7.2f} {found.mean / whole.mean:7.0%} "
            f"{found.waiting:5.2f} s {found.giving_back:4.1f} s  {picture(found.resident)}"
        )
    print(
        f"\nTurn free page reporting on: this VM then holds {1 - told.mean / whole.mean:.0%} less memory on "
        f"average and waits {told.waiting:.2f} s instead of {whole.waiting:.2f} s for its disks; a balloon "
        f"that follows the last minute saves {1 - asked.mean / whole.mean:.0%} and makes it wait "
        f"{asked.waiting:.2f} s."
    )


if __name__ == "__main__":
    tell({way: course(way) for way in WAYS})
