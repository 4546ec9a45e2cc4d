"""A VM as its monitor has it: what commands do to it, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from vmem.balloon import UNKNOWN, Balloon
from vmem.errors import VmemError
from vmem.hypervisor import Hypervisor, Vm
from vmem.qmp.errors import QmpError
from vmem.qmp.events import Event, Throttle
from vmem.qmp.values import Value

Status = Literal["running", "paused", "prelaunch", "internal-error"]
Listener = Callable[[Event], None]

_STATISTICS = ("swap-in", "swap-out", "major-faults", "minor-faults", "free-memory", "total-memory",
               "available-memory", "disk-caches", "htlb-pgalloc", "htlb-pgfail")  # fmt: skip
"""Those of QEMU 7.2, by tag."""


class _Kept(NamedTuple):
    """What of a balloon outlives a reset."""

    target: int
    polling_interval: int
    actual: int


class Machine:
    """A VM, and who listens to it.

    `boot` makes the VM: at first, and again after each reset, when the one before has been destroyed.
    """

    def __init__(self, host: Hypervisor, boot: Callable[[], Vm]) -> None:
        self.host = host
        self.vm = boot()
        self.name, self.memory = self.vm.name, self.vm.memory
        self.status: Status = "running"
        self.ended = False
        """It was told to quit, or is no more."""
        self.listeners: set[Listener] = set()
        self._boot = boot
        self._throttle = Throttle()
        self._kept: _Kept | None = None
        self._old_actual: int | None = None
        """What the driver before a reset said, as long as the new one has said nothing."""
        self._watch()

    @property
    def deadline(self) -> int | None:
        """When `poll` should be called, if it has not been called before."""
        return None if self.ended else self._throttle.deadline

    @property
    def is_there(self) -> bool:
        """Not after a reset that failed, and not after its end."""
        return self.host.vms.get(self.name) is self.vm

    @property
    def has_balloon(self) -> bool:
        return self.is_there and self.vm.balloon is not None

    @property
    def balloon(self) -> Balloon:
        """QmpError if it has none."""
        if not self.is_there or self.vm.balloon is None:
            raise QmpError("No balloon device has been activated", "DeviceNotActive")
        return self.vm.balloon

    @property
    def actual(self) -> int:
        """Bytes that the guest keeps, as its driver said: the present one, or the one before the reset."""
        return self.balloon.actual if self._old_actual is None else self._old_actual

    def set_target(self, size: int) -> None:
        """Bytes."""
        balloon = self.balloon
        if size <= 0:
            raise QmpError("Parameter 'target' expects a size")
        balloon.target = size

    def statistics(self, epoch: int) -> dict[str, Value]:
        """What the guest told, as QEMU's property has it. `epoch`: nanoseconds of 1970 at the clock's 0."""
        balloon, told = self.balloon, self.balloon.stats
        stats: dict[str, Value] = {f"stat-{name}": told.get(f"stat-{name}", UNKNOWN) for name in _STATISTICS}
        last = balloon.last_update
        return {"stats": stats, "last-update": 0 if last is None else (epoch + last) // 10**9}

    def stop(self) -> None:
        """It stands still; the host's time goes on."""
        if self.status == "running":
            self.vm.paused, self.status = True, "paused"
            self._tell("STOP")

    def resume(self) -> None:
        """QmpError if it is not there to go on."""
        if self.status == "internal-error":
            raise QmpError("Resetting the Virtual Machine is required")
        if self.status != "running":
            self.vm.paused, self.status = False, "running"
            self._tell("RESUME")

    def reset(self) -> None:
        """A new VM in its place, booted afresh: target and polling interval stay, and so does `actual`.

        QmpError if it cannot be booted, for want of the host's memory; another reset tries again.
        """
        if self.is_there:
            if self.vm.balloon is not None:
                self._kept = _Kept(self.vm.balloon.target, self.vm.balloon.polling_interval, self.actual)
            self.host.destroy_vm(self.vm)
        was_running = self.status == "running"
        self.status = "internal-error"
        try:
            self.vm = self._boot()
        except VmemError as error:
            raise QmpError(f"the VM cannot be booted again: {error}") from None
        self._watch()
        if self._kept is not None:
            self.balloon.target, self.balloon.polling_interval, self._old_actual = self._kept
        self.status = "running" if was_running else "prelaunch"
        self.vm.paused = not was_running
        self._tell("RESET", {"guest": False, "reason": "host-qmp-system-reset"})

    def shut_down(self, reason: Literal["host-qmp-quit", "host-signal"]) -> None:
        """The end: its listeners hear of it, and nothing after that."""
        if not self.ended:
            self._tell("SHUTDOWN", {"guest": False, "reason": reason})
            self.ended = True

    def poll(self) -> None:
        """Tells what has happened since the last call. Changes nothing of the VM."""
        if self.ended:
            return
        now = self.host.now
        self._send(self._throttle.due(now))
        if not self.is_there:
            return
        if self.vm.is_killed:
            self.ended = True
        elif self.vm.balloon is not None:
            for at, actual in self.vm.balloon.changes():
                self._old_actual = None
                self._send(self._throttle.offer(Event("BALLOON_CHANGE", at, {"actual": actual}), now))

    def _watch(self) -> None:
        if self.vm.balloon is not None:
            self.vm.balloon.watch()

    def _tell(self, name: str, data: dict[str, Value] | None = None) -> None:
        self._send([Event(name, self.host.now, data)])

    def _send(self, events: list[Event]) -> None:
        for event in events:
            for listener in list(self.listeners):
                listener(event)
