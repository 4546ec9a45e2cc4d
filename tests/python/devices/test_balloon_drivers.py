"""Balloon drivers written in Python: what they decide travels through the virtqueues of the guest."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable

import numpy as np
import pytest

import vmem

MIB = 1 << 20


def machine(memory: str = "64MiB", **options: object) -> tuple[vmem.Hypervisor, vmem.Vm, vmem.Balloon]:
    hv = vmem.Hypervisor(memory="256MiB")
    vm = hv.create_vm("a", memory=memory, balloon=True, **options)  # type: ignore[arg-type]
    assert vm.balloon is not None
    return hv, vm, vm.balloon


class Blocks(vmem.BalloonDriver):
    """Whole blocks of 2 MiB, one every 100 ms; the oldest comes back first."""

    delay = "100ms"

    def choose(self, wanted: int) -> list[int]:
        first = self.allocate(9) if wanted >= 512 else None
        return [] if first is None else list(range(first, first + 512))

    def release(self, count: int) -> list[int]:
        return self.pages[: min(count, 512)]


@pytest.mark.parametrize("mmu", ["nested", "shadow"])
def test_a_driver_gives_whole_blocks_at_its_own_pace(mmu: str) -> None:
    hv, vm, balloon = machine(mmu=mmu, backing="2MiB")
    process = vm.guest.spawn()
    heap = process.mmap("40MiB")
    process.access(*vmem.batch(range(heap.start, heap.end, 4096), 1))
    process.exit()
    vm.guest.balloon_driver = driver = Blocks()
    resident = vm.resident
    balloon.target = "48MiB"
    hv.advance("350ms")
    assert balloon.actual == 56 * MIB
    hv.advance("1s")
    assert balloon.actual == 48 * MIB
    assert balloon.counters()["inflate_requests"] == 8
    heads = np.array(driver.pages).reshape(-1, 512)
    assert (heads[:, 0] % 512 == 0).all() and (np.diff(heads, axis=1) == 1).all()
    # 512 pages in one request make up a host page of 2 MiB, which 256 never do.
    assert balloon.counters()["discarded"] > 0
    assert vm.resident < resident
    told = driver.pages
    balloon.target = "60MiB"
    hv.advance("2s")
    assert driver.pages == told[6 * 512 :]
    assert set(balloon.violations().values()) == {0}
    hv.check()


def test_a_driver_chooses_among_the_pages_it_has() -> None:
    class Even(vmem.BalloonDriver):
        def __init__(self) -> None:
            self.odd: list[int] = []

        def choose(self, wanted: int) -> list[int]:
            pages = [page for page in (self.allocate() for _ in range(64)) if page is not None]
            self.odd += [page for page in pages if page % 2]
            if wanted <= 32:  # the last time
                while self.odd:
                    self.free(self.odd.pop())
            return [page for page in pages if page % 2 == 0][:wanted]

    hv, vm, balloon = machine()
    vm.guest.balloon_driver = Even()
    free = vm.guest.free
    balloon.target = "63MiB"
    hv.advance("1s")
    assert vm.guest.free == free - MIB
    pages = vm.guest.balloon_driver.pages
    assert len(pages) == 256 and all(page % 2 == 0 for page in pages)
    hv.check()


def test_a_driver_that_decides_nothing_is_linuxs() -> None:
    pages = []
    for replaced in (False, True):
        hv, vm, balloon = machine()
        if replaced:
            vm.guest.balloon_driver = vmem.BalloonDriver()
        balloon.target = "32MiB"
        hv.advance("1s")
        balloon.target = "40MiB"
        hv.advance("1s")
        assert vm.guest.balloon_driver is not None
        pages.append(vm.guest.balloon_driver.pages)
    assert pages[0] == pages[1] and len(pages[0]) == 24 * 256


def test_who_gives_nothing_is_asked_again_every_200_ms() -> None:
    class Miser(vmem.BalloonDriver):
        asked = 0

        def choose(self, wanted: int) -> list[int]:
            self.asked += 1
            return []

    hv, vm, balloon = machine()
    vm.guest.balloon_driver = miser = Miser()
    balloon.target = "32MiB"
    hv.advance("1s")
    assert balloon.actual == 64 * MIB
    assert 5 <= miser.asked <= 6
    assert miser.stat()["out_of_puff"] == miser.asked


class Raises(vmem.BalloonDriver):
    def choose(self, wanted: int) -> Iterable[int]:
        raise ZeroDivisionError("no")


class Foreign(vmem.BalloonDriver):
    def choose(self, wanted: int) -> Iterable[int]:
        return [1]


class Twice(vmem.BalloonDriver):
    def choose(self, wanted: int) -> Iterable[int]:
        page = self.allocate()
        assert page is not None
        return [page, page]


class TooMany(vmem.BalloonDriver):
    def choose(self, wanted: int) -> Iterable[int]:
        first = self.allocate(10)
        assert first is not None
        return range(first, first + 1024)


@pytest.mark.parametrize(
    ("driver", "error", "text"),
    [
        (Raises, ZeroDivisionError, "no"),
        (Foreign, vmem.ConfigError, "none that the driver has"),
        (Twice, vmem.ConfigError, "different"),
        (TooMany, vmem.ConfigError, "up to 256"),
    ],
)
def test_what_a_driver_does_wrong_is_told_and_the_guest_goes_on(
    driver: type[vmem.BalloonDriver], error: type[Exception], text: str
) -> None:
    hv, vm, balloon = machine()
    vm.guest.balloon_driver = driver()
    balloon.target = "63MiB"
    with pytest.raises(error, match=text):
        hv.advance("1s")
    assert hv.now >= 10**9
    vm.guest.balloon_driver = vmem.BalloonDriver()
    hv.advance("1s")
    assert balloon.actual == 63 * MIB
    hv.check()


def test_a_driver_frees_only_what_it_has_and_only_when_asked() -> None:
    class Frees(vmem.BalloonDriver):
        def choose(self, wanted: int) -> list[int]:
            with pytest.raises(vmem.ConfigError, match="not in the driver's hand"):
                self.free(1)
            with pytest.raises(vmem.ConfigError, match="order"):
                self.allocate(11)
            return []

    hv, vm, balloon = machine()
    driver = Frees()
    with pytest.raises(vmem.ConfigError, match="within choose"):
        driver.allocate()
    vm.guest.balloon_driver = driver
    balloon.target = "63MiB"
    hv.advance("1ms")
    with pytest.raises(vmem.ConfigError, match="within choose"):
        driver.free(1)
    with pytest.raises(vmem.ConfigError, match="no guest's"):
        _ = vmem.BalloonDriver().pages
    other = hv.create_vm("b", memory="32MiB", balloon=True)
    with pytest.raises(vmem.ConfigError, match="another guest's"):
        other.guest.balloon_driver = driver
    with pytest.raises(vmem.ConfigError, match="has no balloon"):
        hv.create_vm("c", memory="32MiB").guest.balloon_driver = vmem.BalloonDriver()
    with pytest.raises(vmem.ConfigError, match="accepted is"):
        vm.guest.balloon_driver = 7  # type: ignore[assignment]


def test_a_machine_with_a_driver_of_its_own_is_let_go() -> None:
    hv, vm, balloon = machine()
    vm.guest.balloon_driver = Blocks()
    balloon.target = "60MiB"
    hv.advance("1s")
    gone = weakref.ref(vm.guest.balloon_driver)
    del hv, vm, balloon
    gc.collect()
    assert gone() is None
