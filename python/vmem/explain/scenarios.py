"""Situations that people ask about, each set up on a small machine and then explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmem.errors import ConfigError
from vmem.explain import explain
from vmem.explain.model import Explanation
from vmem.guest import Process, batch
from vmem.hypervisor import Backing, Hypervisor, MmuMode, ShadowSync, Vm

PAGE = 4096


@dataclass
class Bench:
    """A VM with a process whose area of 1 MiB has been touched at both ends."""

    host: Hypervisor
    vm: Vm
    process: Process
    start: int
    mmu: MmuMode
    sync: ShadowSync

    @classmethod
    def create(cls, mmu: MmuMode, sync: ShadowSync, cpu: str, page: str, backing: Backing) -> Bench:
        host = Hypervisor("1GiB", swap="64MiB", cpu=cpu)
        vm = host.create_vm(
            "guest", memory="64MiB", mmu=mmu, sync=sync, backing=backing, balloon=mmu != "native"
        )
        process = vm.guest.spawn("app")
        area = process.mmap("4MiB", page=page)
        process.write(area.start, b"first")
        process.write(area.end - 1, b"!")
        return cls(host, vm, process, area.start, mmu, sync)

    def needs_hypervisor(self) -> None:
        """ConfigError on a native machine."""
        if self.vm.mmu == "native":
            raise ConfigError("mmu: 'native'; this scenario needs a hypervisor: accepted is any other")

    def guest_physical(self, address: int) -> int:
        """Where the guest's table sends the page of `address`."""
        machine = int(self.process.translate(batch([address])[0])[0]) // PAGE
        for page in self.vm.second_stage():
            if page.hfn <= machine < page.hfn + page.frames:
                return (page.gfn + machine - page.hfn) * PAGE
        raise ConfigError(f"address {address:#x} has no machine frame")


Scene = Callable[[Bench], tuple[Process, int, str]]
"""Sets the scene; gives the process, the address and the kind of the access to explain."""


def first_touch(bench: Bench) -> tuple[Process, int, str]:
    """A page that was never touched: the guest's fault and the hypervisor's, one after the other."""
    return bench.process, bench.start + 2 * PAGE, "store"


def second_touch(bench: Bench) -> tuple[Process, int, str]:
    """The same page again, after the TLBs were flushed: a walk, and nobody's fault."""
    bench.process.write(bench.start + 2 * PAGE, b"x")
    bench.vm.vcpus[0].flush_tlb()
    return bench.process, bench.start + 2 * PAGE, "load"


def host_swap(bench: Bench) -> tuple[Process, int, str]:
    """The host has swapped the page out: hidden from the guest, who only sees time pass."""
    bench.needs_hypervisor()
    bench.vm.swap_out(bench.guest_physical(bench.start))
    return bench.process, bench.start, "load"


def guest_swap(bench: Bench) -> tuple[Process, int, str]:
    """The guest's own kernel has swapped the page out: a true fault, and a read of a disk of the guest's."""
    bench.vm = bench.host.create_vm(
        "swapping", memory="16MiB", mmu=bench.mmu, sync=bench.sync, cpu=bench.vm.cpu, swap="64MiB"
    )
    bench.process = bench.vm.guest.spawn("app")
    area = bench.process.mmap("1MiB")
    bench.process.write(area.start, b"first")
    other = bench.vm.guest.spawn("other")
    more = other.mmap("32MiB")
    for at in range(more.start, more.end, PAGE):
        if bench.process.swapped:
            break
        other.write(at, b"needs memory, too")
    bench.host.advance("100ms")  # the write ends, and the frame is free
    return bench.process, area.start, "load"


def ballooned(bench: Bench) -> tuple[Process, int, str]:
    """The guest's balloon took the frame and gave it back: it has no machine memory until it is used."""
    bench.needs_hypervisor()
    assert bench.vm.balloon is not None
    bench.process.munmap(bench.start, PAGE)
    for target in ("8MiB", "64MiB"):
        bench.vm.balloon.target = target
        bench.host.advance("5s")
    bench.process.mmap(PAGE, at=bench.start)
    return bench.process, bench.start, "store"


def unmapped(bench: Bench) -> tuple[Process, int, str]:
    """The guest has unmapped the page and mapped the range anew: its kernel makes a new page."""
    bench.process.munmap(bench.start, PAGE)
    bench.process.mmap(PAGE, at=bench.start)
    return bench.process, bench.start, "load"


def copy_on_write(bench: Bench) -> tuple[Process, int, str]:
    """The first store of a child to a page that it shares with its parent."""
    return bench.process.fork(), bench.start, "store"


def page_table_write(bench: Bench) -> tuple[Process, int, str]:
    """The guest's kernel stores to its page table, because the next page is touched for the first time."""
    bench.process.read(bench.start, 1)
    return bench.process, bench.start + PAGE, "store"


def segmentation_fault(bench: Bench) -> tuple[Process, int, str]:
    """A store to memory that is mapped for reading: true faults end in SIGSEGV."""
    bench.process.mprotect(bench.start, "r", PAGE)
    return bench.process, bench.start, "store"


def cr3_switch(bench: Bench) -> tuple[Process, int, str]:
    """Another process runs: CR3 is loaded before its access."""
    other = bench.vm.guest.spawn("other")
    area = other.mmap("1MiB")
    other.write(area.start, b"x")
    bench.process.read(bench.start, 1)
    return other, area.start, "load"


SCENARIOS: dict[str, Scene] = {
    "first-touch": first_touch,
    "second-touch": second_touch,
    "host-swap": host_swap,
    "guest-swap": guest_swap,
    "ballooned": ballooned,
    "unmapped": unmapped,
    "copy-on-write": copy_on_write,
    "page-table-write": page_table_write,
    "segmentation-fault": segmentation_fault,
    "cr3-switch": cr3_switch,
}


def run(
    name: str,
    mmu: MmuMode = "nested",
    *,
    sync: ShadowSync = "trace",
    cpu: str = "skylake-sp",
    page: str = "4KiB",
    backing: Backing = "4KiB",
) -> Explanation:
    """Sets the scene `name` on a new machine and explains the access. ConfigError names the known ones."""
    if name not in SCENARIOS:
        raise ConfigError(f"scenario: {name!r}; accepted is one of {', '.join(SCENARIOS)}")
    bench = Bench.create(mmu, sync, cpu, page, backing)
    process, address, kind = SCENARIOS[name](bench)
    return explain(bench.vm, process, address, kind)
