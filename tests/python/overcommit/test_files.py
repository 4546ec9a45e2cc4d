"""Files of a guest against plain bytes: read, written, mapped, forked, synced, under pressure."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import vmem

from .test_guest_integrity import GUEST_MODES
from .world import PAGE

MODES: dict[str, dict[str, Any]] = {"native": {"mmu": "native"}, **GUEST_MODES}
PAGES = 150
"""Pages of a file: of four, more than the guest has room for."""


class Library:
    """A guest of 3 MiB with files, and processes that map them."""

    def __init__(self, options: dict[str, Any], seed: int) -> None:
        self.rng = random.Random(seed)
        host = vmem.Hypervisor("16MiB", swap="16MiB", seed=seed)
        self.host = host
        self.vm = host.create_vm("vm", memory="3MiB", disk="64MiB", swap="16MiB", **options)
        self.files = [self.vm.guest.create_file(f"f{i}", PAGES * PAGE - 100) for i in range(4)]
        self.bytes = [bytearray(file.size) for file in self.files]
        self.maps: list[tuple[vmem.Process, vmem.Mapping, int, bool, dict[int, bytes]]] = []

    def piece(self, size: int) -> tuple[int, int]:
        length = self.rng.choice([1, 100, PAGE, 3 * PAGE, 12 * PAGE])
        start = self.rng.randrange(size - length)
        if length >= PAGE and self.rng.random() < 0.5:
            start -= start % PAGE
        return start, length

    def read_or_write(self) -> None:
        which = self.rng.randrange(len(self.files))
        start, length = self.piece(self.files[which].size)
        if self.rng.random() < 0.5:
            data = self.rng.randbytes(length)
            self.files[which].write(start, data)
            self.bytes[which][start : start + length] = data
        else:
            assert self.files[which].read(start, length) == self.bytes[which][start : start + length]

    def map(self) -> None:
        which, shared = self.rng.randrange(len(self.files)), self.rng.random() < 0.6
        process = self.vm.guest.spawn()
        first = self.rng.randrange(PAGES - 20)
        area = process.mmap(20 * PAGE, file=self.files[which], offset=first * PAGE, shared=shared)
        self.maps.append((process, area, which * PAGES + first, shared, {}))

    def expected(self, place: int, page: int, private: dict[int, bytes], at: int, length: int) -> bytes:
        """What a mapping shows of its page: the private copy once it has been written to, the file before."""
        if page in private:
            return private[page][at : at + length]
        which, first = divmod(place, PAGES)
        start = (first + page) * PAGE
        whole = bytes(self.bytes[which][start : start + PAGE]).ljust(PAGE, b"\0")
        return whole[at : at + length]

    def use_map(self) -> None:
        if not self.maps:
            return
        process, area, place, shared, private = self.rng.choice(self.maps)
        page, at = self.rng.randrange(20), self.rng.randrange(PAGE - 200)
        data = self.rng.randbytes(16)
        if self.rng.random() < 0.5:
            assert process.read(area.start + page * PAGE + at, 16) == self.expected(
                place, page, private, at, 16
            )
            return
        if shared:
            which, first = divmod(place, PAGES)
            start = (first + page) * PAGE + at
            if start + 16 > self.files[which].size:
                return
            self.bytes[which][start : start + 16] = data
        else:
            whole = self.expected(place, page, private, 0, PAGE)
            private[page] = whole[:at] + data + whole[at + 16 :]
        process.write(area.start + page * PAGE + at, data)

    def change_maps(self) -> None:
        if len(self.maps) < 3 or (len(self.maps) < 8 and self.rng.random() < 0.5):
            return self.map()
        process, area, place, shared, private = entry = self.rng.choice(self.maps)
        match self.rng.randrange(5):
            case 0 if len(self.maps) < 8:
                self.maps.append((process.fork(), area, place, shared, dict(private)))
            case 1:
                process.madvise(area, "dontneed")
                private.clear()
            case 2:
                process.mprotect(area, "r")
                process.mprotect(area, "rw")
            case 3:
                process.munmap(area)
                process.exit()
                self.maps.remove(entry)
            case _:
                process.exit()
                self.maps.remove(entry)
        return None

    def maintain(self) -> None:
        which = self.rng.randrange(len(self.files))
        match self.rng.randrange(5):
            case 0:
                self.files[which].fsync()
                assert self.vm.disk is not None
                on_disk = self.vm.disk.read(self.files[which].place, self.files[which].size)
                assert on_disk == self.bytes[which]
            case 1:
                self.vm.guest.drop_caches()
            case 2:
                self.host.advance("6s")
            case 3 if not any(place // PAGES == which for _, _, place, _, _ in self.maps):
                self.files[which].unlink()
                self.files[which] = self.vm.guest.create_file(f"again{self.rng.random()}", PAGES * PAGE - 100)
                self.bytes[which] = bytearray(self.files[which].read(0, self.files[which].size))
            case _:
                hog = self.vm.guest.spawn()
                area = hog.mmap("1MiB")
                for at in range(area.start, area.end, PAGE):
                    hog.write(at, b"anonymous")
                hog.exit()

    def run(self, steps: int) -> None:
        for step in range(steps):
            roll = self.rng.random()
            if roll < 0.4:
                self.read_or_write()
            elif roll < 0.9:
                self.use_map()
            elif roll < 0.97:
                self.change_maps()
            else:
                self.maintain()
            if step % 500 == 0:
                self.host.check()
        for which, file in enumerate(self.files):
            assert file.read(0, file.size) == self.bytes[which]
        self.host.check()


@pytest.mark.parametrize("mode", MODES)
def test_files_hold_what_was_written(mode: str) -> None:
    library = Library(MODES[mode], seed=11)
    library.run(3000)
    stat = library.vm.guest.vmstat()
    for name in (
        "pgpgin",
        "pgmajfault",
        "nr_dirtied",
        "nr_written",
        "pgsteal_file",
        "workingset_refault_file",
    ):
        assert stat[name] > 0, (name, stat)
    assert stat["oom_kill"] == 0


def _vm(memory: str = "64MiB", **options: Any) -> tuple[vmem.Hypervisor, vmem.Vm]:
    host = vmem.Hypervisor("256MiB", seed=1)
    return host, host.create_vm("vm", memory=memory, disk="256MiB", **options)


def test_reading_on_reads_ahead_in_growing_windows() -> None:
    _, vm = _vm()
    assert vm.disk is not None
    file = vm.guest.create_file("f", "16MiB")
    before = vm.disk.stat()["reads"]
    for page in range(4096):
        file.read(page * PAGE, 1)
    reads = vm.disk.stat()["reads"] - before
    assert reads == 4 + -(-(4096 - 4 - 8 - 16 - 30) // 30)  # 4, 8, 16 pages, then as many as a request holds
    assert vm.guest.meminfo()["Cached"] == 16 << 20
    for page in np.random.default_rng(1).permutation(4096)[:500]:
        file.read(int(page) * PAGE, 1)
    assert vm.disk.stat()["reads"] - before == reads, "all of it is cached"
    vm.guest.drop_caches()
    assert vm.guest.meminfo()["Cached"] == 0
    middle = vm.disk.stat()["reads"]
    for page in range(0, 4096, 64):
        file.read(page * PAGE, 1)
    assert vm.disk.stat()["reads"] - middle == 64
    assert vm.guest.meminfo()["Cached"] == 64 * 4 * PAGE, "of reads here and there, four pages each"


def test_dirty_pages_reach_the_disk_by_themselves() -> None:
    """After dirty_expire (30 s) and at most a period of the flusher (5 s) more, not before."""
    host, vm = _vm()
    assert vm.disk is not None
    file = vm.guest.create_file("f", "1MiB")
    file.write(5000, b"written")
    assert vm.guest.meminfo()["Dirty"] == PAGE
    host.advance("29s")
    assert vm.disk.read(file.place + 5000, 7) == bytes(7)
    host.advance("7s")
    assert vm.disk.read(file.place + 5000, 7) == b"written"
    assert vm.guest.meminfo()["Dirty"] == 0
    process = vm.guest.spawn()
    area = process.mmap("1MiB", file=file, shared=True)
    process.write(area.start, b"mapped")
    process.write(area.start, b"Mapped")
    host.advance("36s")
    assert vm.disk.read(file.place, 6) == b"Mapped"
    process.write(area.start, b"again!")  # the store after write-back is seen
    assert vm.guest.meminfo()["Dirty"] == PAGE
    host.check()


def test_a_writer_waits_while_a_fifth_of_memory_is_dirty() -> None:
    _, vm = _vm()
    file = vm.guest.create_file("f", "128MiB")
    most = 0
    for at in range(0, 128 << 20, 1 << 20):
        file.write(at, bytes([at >> 20 & 255]) * (1 << 20))
        most = max(most, vm.guest.meminfo()["Dirty"])
    assert most <= 0.21 * (64 << 20)
    assert vm.guest.vmstat()["nr_written"] > 100 * 256
    for at in range(0, 128 << 20, 8 << 20):
        assert file.read(at, 4) == bytes([at >> 20 & 255]) * 4


def test_pressure_takes_the_page_cache_before_it_swaps() -> None:
    host, vm = _vm(swap="64MiB", balloon=True)
    assert vm.balloon is not None
    process = vm.guest.spawn()
    area = process.mmap("20MiB")
    for at in range(area.start, area.end, PAGE):
        process.write(at, b"in use")
    file = vm.guest.create_file("f", "32MiB")
    for at in range(0, 32 << 20, 1 << 20):
        file.read(at, 1 << 20)
    assert vm.guest.meminfo()["Cached"] > 24 << 20
    vm.balloon.target = "40MiB"
    host.advance("10s")
    assert vm.balloon.actual == 40 << 20
    assert vm.guest.meminfo()["Cached"] < 16 << 20
    assert vm.guest.vmstat()["pgsteal_anon"] * 10 < vm.guest.vmstat()["pgsteal_file"]
    vm.balloon.target = "16MiB"
    host.advance("20s")
    assert vm.guest.meminfo()["Cached"] < 2 << 20
    assert process.swapped > 4 << 20
    assert vm.guest.vmstat()["oom_kill"] == 0
    for at in range(area.start, area.end, 16 * PAGE):
        assert process.read(at, 6) == b"in use"
    host.check()


def test_a_disk_that_fails_is_an_error_and_loses_nothing_that_is_in_memory() -> None:
    host, vm = _vm()
    assert vm.disk is not None
    file = vm.guest.create_file("f", "1MiB")
    file.write(0, b"kept")
    process = vm.guest.spawn()
    area = process.mmap("1MiB", file=file, shared=True)
    vm.disk.fails = True
    with pytest.raises(vmem.FileError, match="fsync of file 'f'"):
        file.fsync()
    with pytest.raises(vmem.FileError, match="read of file 'f' at 524288"):
        file.read(512 << 10, 10)
    with pytest.raises(vmem.SegmentationFault):
        process.read(area.start + (600 << 10), 1)  # SIGBUS
    assert file.read(0, 4) == b"kept"
    host.check()
    vm.disk.fails = False
    file.fsync()
    assert vm.disk.read(file.place, 4) == b"kept"
    assert process.read(area.start + (600 << 10), 1) == b"\0"


def test_bad_calls_say_what_is_accepted() -> None:
    _, vm = _vm()
    file = vm.guest.create_file("f", "1MiB")
    process = vm.guest.spawn()
    with pytest.raises(vmem.ConfigError, match="no disk"):
        vmem.Hypervisor("64MiB").create_vm("bare", memory="8MiB").guest.create_file("f", 1)
    for call, error, words in (
        (lambda: vm.guest.create_file("f", 10), vmem.ConfigError, "taken"),
        (lambda: vm.guest.create_file("g", 0), vmem.ConfigError, "positive"),
        (lambda: vm.guest.create_file("g", "1GiB"), vmem.OutOfMemory, "no run"),
        (lambda: file.read((1 << 20) - 1, 2), vmem.ConfigError, "it has 1048576"),
        (lambda: file.write(1 << 21, b"x"), vmem.ConfigError, "it has 1048576"),
        (lambda: process.mmap(4096, file=file, offset=100), vmem.ConfigError, "multiple of 4096"),
        (lambda: process.mmap("2MiB", file=file), vmem.ConfigError, "behind the file"),
        (lambda: process.stack(100), vmem.ConfigError, "accepted is"),
        (lambda: process.madvise(0x1000, "sell", 4096), vmem.ConfigError, "dontneed"),
    ):
        with pytest.raises(error, match=words):
            call()
    process.mmap("1MiB", file=file)
    with pytest.raises(vmem.ConfigError, match="maps it"):
        file.unlink()
    process.exit()
    file.unlink()
    assert vm.guest.files == []
    with pytest.raises(vmem.ConfigError, match="no such file"):
        file.read(0, 1)


def test_a_stack_grows_down_to_its_limit_and_no_further() -> None:
    host, vm = _vm()
    process = vm.guest.spawn()
    stack = process.stack("1MiB")
    assert stack.length == 33 * PAGE
    for down in range(PAGE, 1 << 20, 20 * PAGE):
        process.write(stack.end - down, b"frame")
    (area,) = process.mappings()
    assert area.end - area.start > 900 << 10
    with pytest.raises(vmem.SegmentationFault):
        process.write(stack.end - (1 << 20) - PAGE, b"overflow")
    host.check()
    other = vm.guest.spawn()
    low = other.stack("1MiB")
    other.mmap(PAGE, at=low.end - 300 * PAGE)  # 255 pages below what follows
    with pytest.raises(vmem.SegmentationFault):
        other.write(low.end - 44 * PAGE, b"the guard gap")
    other.write(low.end - 43 * PAGE, b"above it")


def test_a_vcpu_waits_for_what_another_has_asked_of_the_disk() -> None:
    """Completions go to whoever asked: the one that waits must not believe that the disk is dead."""
    host = vmem.Hypervisor("64MiB", seed=1)
    vm = host.create_vm("vm", memory="8MiB", vcpus=2, disk="32MiB", swap="32MiB")
    file = vm.guest.create_file("f", "16MiB")
    processes = [vm.guest.spawn(f"p{i}", vcpu=i) for i in range(2)]
    areas = [process.mmap("6MiB") for process in processes]
    rng = random.Random(4)
    for step in range(3000):
        which = step % 2
        at = areas[which].start + rng.randrange(1536) * PAGE
        processes[which].write(at, at.to_bytes(8, "little"))
        assert processes[which].read(at, 8) == at.to_bytes(8, "little")
        file.write(rng.randrange(4096) * PAGE, bytes([which + 1]) * 100, vcpu=which)
        if step % 100 == 0:
            file.fsync(vcpu=1 - which)
            host.check()
    assert vm.guest.vmstat()["pswpin"] > 100
    assert vm.guest.vmstat()["oom_kill"] == 0


def test_writing_to_a_disk_that_fails_ends() -> None:
    _, vm = _vm()
    assert vm.disk is not None
    file = vm.guest.create_file("f", "64MiB")
    vm.disk.fails = True
    for at in range(0, 24 << 20, 1 << 20):  # more than a fifth of memory, none of which can be written back
        file.write(at, b"x" * (1 << 20))
    with pytest.raises(vmem.FileError, match="fsync"):
        file.fsync()
    vm.disk.fails = False
    file.fsync()
    assert vm.disk.read(file.place + (20 << 20), 4) == b"xxxx"


def test_a_guest_without_a_disk_has_no_caches_to_drop() -> None:
    """This crashed."""
    vm = vmem.Hypervisor("64MiB").create_vm("vm", memory="16MiB")
    before = vm.guest.meminfo()
    vm.guest.drop_caches()
    assert vm.guest.meminfo() == before
