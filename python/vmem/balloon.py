"""The memory balloon: the device on the host, and the driver in the guest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from vmem import _core, checks
from vmem.durations import Duration, parse_duration
from vmem.errors import ConfigError
from vmem.sizes import Size, parse_size

UNKNOWN = 2**64 - 1
"""A statistic that the guest has not told."""

FEATURES = (
    "statistics",
    "must_tell_host",
    "deflate_on_oom",
    "free_page_hint",
    "page_poison",
    "free_page_reporting",
)
_OFFERED = ("statistics", "page_poison")
"""Those that a balloon has if nothing is said: QEMU's."""


class Resizes(NamedTuple):
    """Targets of one direction. The way to one ends when the guest is there, or when another target comes."""

    reached: int
    given_up: int
    """Because another target came."""
    size: int
    """Bytes by which `actual` moved on all of these ways."""
    time: int
    """Nanoseconds that they took together."""
    longest: int
    """Nanoseconds, of one that was reached."""

    @classmethod
    def of(cls, counted: tuple[int, int, int, int, int]) -> Resizes:
        reached, given_up, pages, time, longest = counted
        return cls(reached, given_up, pages * 4096, time, longest)


class Balloon:
    """The balloon device of a VM, as the host sees it: `Vm.balloon`."""

    def __init__(self, core: _core.Machine, vm: int) -> None:
        self._core = core
        self._vm = vm

    @property
    def target(self) -> int:
        """Bytes of RAM that the guest should keep. Set it to a size ("512MiB", bytes); more than the VM's
        RAM is all of it. The guest follows as time passes.
        """
        return self._core.balloon_target(self._vm)

    @target.setter
    def target(self, size: Size) -> None:
        wanted = parse_size(size, "balloon target")
        if wanted <= 0:
            raise ConfigError(f"balloon target: {wanted} bytes; accepted is 1 or more")
        self._core.set_balloon_target(self._vm, min(wanted, 2**63 - 1))

    @property
    def actual(self) -> int:
        """Bytes of RAM that the guest keeps, as its driver last said."""
        return self._core.balloon_actual(self._vm)

    @property
    def stats(self) -> dict[str, int]:
        """What the guest last told, by QEMU's names: bytes, and counts of events. UNKNOWN: never told."""
        return self._core.balloon_statistics(self._vm)[0]

    @property
    def last_update(self) -> int | None:
        """When it told that, in nanoseconds of the host's clock; None: never. It stands still if the guest
        does.
        """
        return self._core.balloon_statistics(self._vm)[1]

    @property
    def polling_interval(self) -> int:
        """Seconds between requests for statistics; 0: none."""
        return self._core.balloon_polling_interval(self._vm)

    @polling_interval.setter
    def polling_interval(self, seconds: int) -> None:
        self._core.set_balloon_polling_interval(
            self._vm, checks.integer(seconds, "polling_interval", 0, 2**32 - 1)
        )

    @property
    def inhibited(self) -> bool:
        """While True, the host takes nothing from the guest: as with VFIO or post-copy migration in QEMU."""
        return self._core.balloon_inhibited(self._vm)

    @inhibited.setter
    def inhibited(self, inhibited: bool) -> None:
        self._core.inhibit_balloon(self._vm, bool(inhibited))

    @property
    def shrinking(self) -> Resizes:
        """How the guest has followed targets below what it kept."""
        return Resizes.of(self._core.balloon_resizes(self._vm)[0])

    @property
    def growing(self) -> Resizes:
        """How it has followed targets above that."""
        return Resizes.of(self._core.balloon_resizes(self._vm)[1])

    def watch(self) -> None:
        """From now on, every change of `actual` is kept for `changes`."""
        self._core.watch_balloon(self._vm)

    def changes(self) -> list[tuple[int, int]]:
        """(nanoseconds of the host's clock, `actual` in bytes) for each change since the last call.

        Of more than 4,096, the first ones and the last one. `watch` first.
        """
        return self._core.take_balloon_changes(self._vm)

    def start_hinting(self) -> None:
        """Asks the guest for all of its free pages (free page hinting), in a new round. As time passes it
        tells them, and their machine frames are taken away at once; it keeps its hands off them until
        `finish_hinting`, or until it is short of memory. ConfigError without the feature `free_page_hint`.
        """
        self._core.start_balloon_hinting(self._vm)

    def stop_hinting(self) -> None:
        """Wants no more hints; what has been hinted stays so."""
        self._core.stop_balloon_hinting(self._vm)

    def finish_hinting(self) -> None:
        """Tells the guest that it may use its pages again."""
        self._core.finish_balloon_hinting(self._vm)

    @property
    def hinting(self) -> str:
        """Of the last round: "requested", "started", "stopped" (by either side) or "done"."""
        return self._core.balloon_hinting(self._vm)

    @property
    def needs_reset(self) -> bool:
        """The driver has broken a queue: the device does nothing more until it is reset."""
        return self._core.balloon_needs_reset(self._vm)

    def counters(self) -> dict[str, int]:
        """Since the VM was created: pages `inflated deflated`, their requests, machine frames `discarded`
        for them, blocks `reports`, their pages `reported` and the frames `reported_discarded`; rounds of
        hinting that the driver has begun `hint_rounds`, blocks `hints`, their pages `hinted`, blocks that
        came too late `stale_hints` and the frames `hinted_discarded`; and `held`, the pages in the balloon
        now.
        """
        return self._core.balloon_counters(self._vm)

    def violations(self) -> dict[str, int]:
        """How often the driver broke each rule of the standard (docs/design/devices.md)."""
        return self._core.balloon_violations(self._vm)

    def __repr__(self) -> str:
        return f"<Balloon, target {self.target >> 20} MiB, actual {self.actual >> 20} MiB>"


class BalloonDriver:
    """The guest kernel's balloon driver: `Guest.balloon_driver`. It decides as Linux's does.

    A subclass decides otherwise, from when it is assigned to `Guest.balloon_driver`: `choose` which pages go
    into the balloon, `release` which come back, `delay` how long it waits from one request to the next. The
    driver tells the host through its virtqueues, whoever has decided. What these methods raise is raised by
    `Hypervisor.advance` or `run` when the time is up; the driver tries again after 200 ms.
    """

    delay: Duration = 0

    _of: _core.Machine | None = None
    _vm = 0
    _hand: _core.BalloonHand | None = None
    _failure: BaseException | None = None

    def choose(self, wanted: int) -> Iterable[int] | None:
        """gPFNs of pages that the driver has (`allocate`), at most `wanted`, to put into the balloon now, in
        this order. None: 256 single pages, as Linux. No page: nothing is to be had; in 200 ms again.

        Up to 512 pages are one request. Pages that are not given stay with the driver.
        """

    def release(self, count: int) -> Iterable[int] | None:
        """gPFNs of at most `count` of the balloon's `pages` that come back now. None: the last ones first, as
        Linux. No page: in 200 ms again.
        """

    def allocate(self, order: int = 0) -> int | None:
        """Takes 2**order pages in a row (order 0 to 10) from the guest's kernel, which may reclaim for them.

        Returns the gPFN of the first; None if there are none. Only within `choose`.
        """
        return self._lent().allocate(checks.integer(order, "order", 0, 10))

    def free(self, page: int) -> None:
        """Gives a page back that was taken and not put into the balloon. Only within `choose`."""
        self._lent().free(checks.integer(page, "page", 0, 2**52 - 1))

    def _lent(self) -> _core.BalloonHand:
        if self._hand is None:
            raise ConfigError("a balloon driver allocates and frees pages only within choose()")
        return self._hand

    def _machine(self) -> _core.Machine:
        if self._of is None:
            raise ConfigError("this balloon driver is no guest's: assign it to Guest.balloon_driver")
        return self._of

    def _attach(self, core: _core.Machine, vm: int) -> None:
        """Is the driver of a guest, which still follows the one before."""
        if self._of is not None and (self._of is not core or self._vm != vm):
            raise ConfigError("this balloon driver is another guest's")
        self._of, self._vm = core, vm

    def _choose(self, hand: _core.BalloonHand, wanted: int) -> list[int] | None:
        self._hand = hand
        try:
            return _pages(self.choose(wanted), wanted, hand.has, "choose", "has")
        except BaseException as failure:  # the guest's kernel goes on
            self._failure = self._failure or failure
            return []
        finally:
            self._hand = None

    def _release(self, count: int) -> list[int] | None:
        try:
            chosen = self.release(count)
            inside = set() if chosen is None else set(self.pages)
            return _pages(chosen, count, inside.__contains__, "release", "has in the balloon")
        except BaseException as failure:
            self._failure = self._failure or failure
            return []

    def _delay(self) -> int:
        try:
            return parse_duration(self.delay, "balloon driver's delay")
        except BaseException as failure:
            self._failure = self._failure or failure
            return 200_000_000

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    @property
    def pages(self) -> list[int]:
        """gPFNs in the balloon, in the order in which they went in."""
        return self._machine().balloon_driver_pages(self._vm)

    @property
    def queues(self) -> list[tuple[int, int, int, int]]:
        """Of each of its virtqueues, by number: gPA of the descriptors, of the available ring and of the used
        ring, and how many entries it has.
        """
        return self._machine().balloon_driver_queues(self._vm)

    def unload(self) -> None:
        """As rmmod: all pages come back to the guest's kernel, and the device is reset.

        ConfigError if it is not loaded.
        """
        if not self._machine().unload_balloon_driver(self._vm):
            raise ConfigError("this guest's balloon driver is not loaded")

    def load(self) -> None:
        """As modprobe: Linux's driver, which follows the target as it is. ConfigError if one is loaded."""
        if not self._machine().load_balloon_driver(self._vm):
            raise ConfigError("this guest's balloon driver is loaded already, or cannot be")

    def kick(self, queue: int) -> None:
        """Rings the doorbell of a queue: the device looks at what lies there, written by whomever."""
        self._machine().kick_balloon(self._vm, checks.integer(queue, "queue", 0, 2**32 - 1))

    def stat(self) -> dict[str, int]:
        """Since boot: pages `balloon_inflate balloon_deflate`, times `out_of_puff`, pages `oom_deflated`; of
        free page reporting `report_cycles`, `report_requests`, `reported_blocks`, `reported_pages`; of
        hinting `hint_rounds`, `hinted_blocks`, those that reclaim took back early, `hinted_blocks_shrunk`,
        and those that the driver still has, `hinted_blocks_held`.
        """
        return self._machine().balloon_driver_stat(self._vm)


def _pages(
    chosen: Iterable[int] | None, most: int, is_there: Callable[[int], bool], call: str, where: str
) -> list[int] | None:
    if chosen is None:
        return None
    pages = [checks.integer(page, f"page of {call}()", 0, 2**52 - 1) for page in chosen]
    if len(pages) > most or len(set(pages)) != len(pages):
        raise ConfigError(f"{call}({most}): {len(pages)} pages; accepted are up to {most} different ones")
    for page in pages:
        if not is_there(page):
            raise ConfigError(f"{call}({most}): page {page:#x} is none that the driver {where}")
    return pages


def accept_balloon(balloon: bool | Mapping[str, bool] | None, name: str) -> dict[str, bool] | None:
    """Features by name; None for no balloon."""
    if balloon is None or balloon is False:
        return None
    features = {} if balloon is True else balloon
    if not isinstance(features, Mapping):
        raise ConfigError(f"balloon of VM {name!r}: {balloon!r}; accepted is True, or a dict of features")
    for feature, on in features.items():
        if feature not in FEATURES or not isinstance(on, bool):
            raise ConfigError(
                f"balloon of VM {name!r}: {feature}={on!r}; accepted are {', '.join(FEATURES)}, True or False"
            )
    return {feature: features.get(feature, feature in _OFFERED) for feature in FEATURES}
