"""What the host takes away, shares or re-sizes comes back as it was, on every road by which it is needed."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vmem

PAGE = 4096
MODES: list[dict[str, Any]] = [
    {"mmu": "nested"},
    {"mmu": "nested", "cpu": "zen3"},
    *({"mmu": "shadow", "sync": sync} for sync in ("trace", "unsync", "vtlb")),
    *({"mmu": "shadow", "sync": sync, "direct_faults": True} for sync in ("trace", "unsync")),
    {"mmu": "software-tlb"},
    {"mmu": "software-tlb", "software_tlb": 64},
]
each_mode = pytest.mark.parametrize("options", MODES, ids=lambda o: "-".join(map(str, o.values())))


class Bench:
    """A VM with one process, whose area of 64 pages is written; each page with its number."""

    def __init__(self, options: dict[str, Any], *, swap: str | int = "64MiB", memory: str = "16MiB") -> None:
        self.host = vmem.Hypervisor("256MiB", swap=swap, swap_read_time="80us")
        self.vm = self.host.create_vm("guest", memory=memory, **options)
        self.process = self.vm.guest.spawn()
        self.area = self.process.mmap(64 * PAGE)
        for page in range(64):
            self.process.write(self.at(page), self.bytes_of(page))

    def at(self, page: int) -> int:
        return self.area.start + page * PAGE

    @staticmethod
    def bytes_of(page: int) -> bytes:
        return f"page {page} ".encode() * 400

    def physical(self, page: int) -> int:
        """Guest-physical address of a page, found by its bytes."""
        memory = self.vm.read_physical(0, self.vm.memory)
        return memory.index(self.bytes_of(page))

    def frames(self) -> range:
        return range(0, self.vm.memory, PAGE)

    def touch(self, page: int, kind: int = 0) -> dict[str, int]:
        summary = self.process.access(*vmem.batch([self.at(page)], kind))
        self.host.check()
        return {n: c for n, c in summary.counters.items() if c and n.startswith(("exits.", "faults."))}

    def all_as_written(self) -> bool:
        self.host.check()
        written = [self.bytes_of(page) for page in range(64)]
        return written == [self.process.read(self.at(page), len(data)) for page, data in enumerate(written)]


@each_mode
def test_a_frame_in_the_hosts_swap_is_the_hypervisors(options: dict[str, Any]) -> None:
    bench = Bench(options)
    before, faults = bench.vm.resident, bench.vm.guest.vmstat()["pgfault"]
    free = bench.host.meminfo()["free"]
    assert bench.vm.swap_out(bench.physical(3))
    assert bench.vm.resident == before - PAGE
    assert bench.vm.swapped == bench.host.meminfo()["swap_used"] == PAGE
    assert bench.host.meminfo()["free"] == free + PAGE
    began = bench.host.now
    made = bench.touch(3)
    assert made["faults.host_swap_in"] == 1
    assert "faults.guest_page_fault" not in made
    assert bench.host.now - began >= 80_000
    assert bench.vm.guest.vmstat()["pgfault"] == faults
    assert bench.vm.swapped == 0
    assert bench.all_as_written()


@each_mode
def test_a_shared_frame_is_copied_by_the_hypervisor_on_the_first_store(options: dict[str, Any]) -> None:
    bench = Bench(options)
    bench.process.write(bench.at(5), bench.bytes_of(4))
    merged = bench.host.share()
    assert merged >= 1
    assert bench.host.meminfo()["shared"] > merged * PAGE
    bench.touch(4)
    bench.touch(5)
    where = bench.process.translate(vmem.batch([bench.at(4), bench.at(5)])[0]).tolist()
    assert where[0] == where[1]
    made = bench.touch(5, 1)
    assert made["faults.cow_break"] == 1
    assert "faults.guest_page_fault" not in made
    bench.process.write(bench.at(5), bench.bytes_of(5))
    assert bench.all_as_written()


@each_mode
def test_the_last_sharer_keeps_the_frame(options: dict[str, Any]) -> None:
    bench = Bench(options)
    bench.host.share()
    for page in range(64):
        bench.process.write(bench.at(page), bench.bytes_of(page))
    for frame in bench.frames():
        bench.vm.write_physical(frame, bench.vm.read_physical(frame, 8))
    assert bench.host.meminfo()["shared"] == 0
    assert bench.all_as_written()


@each_mode
def test_all_that_is_swapped_out_comes_back_as_walks_and_kernel_need_it(
    options: dict[str, Any],
) -> None:
    bench = Bench(options)
    for _ in range(3):
        assert sum(bench.vm.swap_out(frame) for frame in bench.frames()) > 64
        assert bench.vm.read_physical(bench.physical(9), 7) == b"page 9 "  # and stays where it is
        assert bench.vm.resident == 0
        bench.host.check()  # the guest kernel's own check brings in what it looks at
        bench.process.write(bench.at(1), bench.bytes_of(1))
        more = bench.process.mmap(8 * PAGE)
        bench.process.write(more.start, b"x" * 8 * PAGE)
        child = bench.process.fork()
        assert child.read(bench.at(7), 7) == b"page 7 "
        child.exit()
        bench.process.munmap(more)
        assert bench.all_as_written()


@each_mode
def test_two_vms_with_the_same_bytes_share_and_part(options: dict[str, Any]) -> None:
    bench = Bench(options)
    other = bench.host.create_vm("other", memory="16MiB", **options)
    process = other.guest.spawn()
    area = process.mmap(64 * PAGE)
    for page in range(64):
        process.write(area.start + page * PAGE, bench.bytes_of(page))
    used = bench.host.meminfo()["used"]
    merged = bench.host.share()
    assert merged >= 64
    assert bench.host.meminfo()["used"] <= used - merged * PAGE  # shadows of shared guest tables go besides
    for page in range(64):
        process.write(area.start + page * PAGE, b"mine now")
    assert bench.all_as_written()
    bench.host.destroy_vm(other)
    assert bench.all_as_written()


@each_mode
def test_split_and_collapse_change_nothing_but_the_page_size(options: dict[str, Any]) -> None:
    bench = Bench({**options, "backing": "2MiB"})
    more = bench.process.mmap("6MiB")
    bench.process.write(more.start, b"x" * (6 << 20))
    large = [page.gfn for page in bench.vm.second_stage() if page.frames == 512]
    assert len(large) >= 2
    resident = bench.vm.resident
    assert bench.vm.split(large[0] * PAGE)
    assert not bench.vm.split(large[0] * PAGE)
    assert bench.all_as_written()
    assert bench.vm.collapse(large[0] * PAGE)
    assert not bench.vm.collapse(large[0] * PAGE)
    assert bench.all_as_written()
    assert [page.gfn for page in bench.vm.second_stage() if page.frames == 512] == large
    assert bench.vm.resident == resident
    assert bench.vm.swap_out(large[1] * PAGE + 7 * PAGE)
    assert bench.vm.resident == resident - PAGE
    assert not bench.vm.collapse(large[1] * PAGE)
    assert bench.all_as_written()


@each_mode
def test_without_a_place_in_the_swap_the_frame_stays(options: dict[str, Any]) -> None:
    bench = Bench(options, swap=2 * PAGE)
    frames = [bench.physical(page) for page in range(4)]
    assert [bench.vm.swap_out(frame) for frame in frames] == [True, True, False, False]
    assert bench.all_as_written()
    assert not Bench(options, swap=0).vm.swap_out(frames[0])


def test_a_native_machine_keeps_its_memory() -> None:
    bench = Bench({"mmu": "native"})
    at = bench.physical(0)
    assert not bench.vm.swap_out(at)
    assert not bench.vm.split(at)
    assert not bench.vm.collapse(at)
    assert bench.host.share() == 0


@pytest.mark.parametrize("directory", ["/nowhere/at/all", "", 7, "/dev/null"])
def test_a_swap_directory_that_cannot_be_used_is_refused(directory: Any) -> None:
    with pytest.raises(vmem.ConfigError, match=r"swap"):
        vmem.Hypervisor("64MiB", swap="1MiB", swap_dir=directory)


def test_the_swap_file_is_private_and_leaves_no_name(tmp_path: Path) -> None:
    host = vmem.Hypervisor("64MiB", swap="1MiB", swap_dir=tmp_path)
    assert host.meminfo()["swap_total"] == 1 << 20
    assert list(tmp_path.iterdir()) == []
    files = [Path(f"/proc/self/fd/{fd}") for fd in range(256)]
    held = [file for file in files if file.is_symlink() and str(tmp_path) in str(file.readlink())]
    assert len(held) == 1
    assert stat.S_IMODE(held[0].stat().st_mode) == 0o600


FULL = """
import resource, vmem
host = vmem.Hypervisor("64MiB", swap="16MiB", swap_dir={directory!r})
vm = host.create_vm("guest", memory="16MiB")
process = vm.guest.spawn()
area = process.mmap("1MiB")
process.write(area.start, b"a" * (1 << 20))
resource.setrlimit(resource.RLIMIT_FSIZE, (100 * 4096 + 77, 100 * 4096 + 77))
out = sum(vm.swap_out(gpa) for gpa in range(0, vm.memory, 4096))
assert vm.swapped == out * 4096, out
assert host.stat()["swap_write_errors"] > 0
assert process.read(area.start, 1 << 20) == b"a" * (1 << 20)
host.check()
print("as written")
"""


def test_a_full_disk_takes_no_page_and_loses_none(tmp_path: Path) -> None:
    script = FULL.format(directory=str(tmp_path))
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "as written\n", done.stderr
