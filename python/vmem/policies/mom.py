"""oVirt's Memory Overcommitment Manager: its balloon rules (mom 3de1c8e, doc/balloon.rules)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from vmem.decode import Nanoseconds
from vmem.policies.model import Rules, Share, Targets
from vmem.policies.views import HostView, VmView


class MomRules(Rules, frozen=True, kw_only=True):
    """Constants by the names of the rules; the defaults are theirs."""

    name: ClassVar[str] = "mom"
    interval: ClassVar[int] = 5 * 10**9
    """Of the monitors: host-monitor-interval and guest-monitor-interval of mom.conf."""

    pressure_threshold: Share = 0.20
    """Below so much free host memory, guests shrink; above, they grow back."""
    pressure_critical: Share = 0.05
    """Below so much, guests are to swap."""
    min_guest_free_percent: Share = 0.20
    """What a guest without pressure would like to have free."""
    max_balloon_change_percent: Share = 0.05
    min_balloon_change_percent: Share = 0.0025
    """A smaller change is not worth it: the dead band."""
    policy_interval: Nanoseconds = 10 * 10**9
    """policy-engine-interval of mom.conf."""
    history: Annotated[int, Meta(ge=1, le=10**4, description="a number of samples from 1 to 10,000")] = 10
    """sample-history-length: averages are over at most so many samples of the monitors."""

    def start(self) -> Mom:
        return Mom(self)


class _Average:
    """StatAvg: the mean of the last samples."""

    def __init__(self, length: int) -> None:
        self._samples: deque[int] = deque(maxlen=length)

    def add(self, value: int) -> None:
        self._samples.append(value)

    @property
    def value(self) -> float:
        return sum(self._samples) / len(self._samples)


class _Monitor:
    """What is known of a guest: averages of balloon_cur and mem_unused."""

    def __init__(self, length: int) -> None:
        self.current, self.unused = _Average(length), _Average(length)

    @property
    def used(self) -> float:
        """With its page cache, which is why these rules leave much of it alone."""
        return self.current.value - self.unused.value


class Mom:
    """Monitors at every call; the rules at every policy interval."""

    def __init__(self, rules: MomRules) -> None:
        self._rules = rules
        self._free = _Average(rules.history)
        self._monitors: dict[str, _Monitor] = {}
        self._next = 0

    def decide(self, host: HostView, vms: Sequence[VmView]) -> Targets:
        """A guest that has told nothing yet is left alone."""
        self._free.add(host.free)
        told = [vm for vm in vms if vm.free is not None]
        self._monitors = {
            vm.name: self._monitors.get(vm.name) or _Monitor(self._rules.history) for vm in told
        }
        for vm in told:
            self._monitors[vm.name].current.add(vm.actual)
            self._monitors[vm.name].unused.add(vm.free or 0)
        if host.now < self._next:
            return {}
        self._next = host.now + self._rules.policy_interval
        free = self._free.value / host.memory
        rule = self._shrink if free < self._rules.pressure_threshold else self._grow
        sizes = {vm.name: rule(vm, free) for vm in told}
        return {name: size for name, size in sizes.items() if size is not None}

    def _shrink(self, vm: VmView, free: float) -> float | None:
        rules = self._rules
        wanted = (
            free - 0.05
            if free <= rules.pressure_critical
            else rules.min_guest_free_percent * free / rules.pressure_threshold
        )
        least = max(vm.minimum, self._monitors[vm.name].used + wanted * vm.actual)
        size = max(vm.actual * (1 - rules.max_balloon_change_percent), least)
        return size if size <= vm.actual and self._is_big_enough(vm, size) else None

    def _grow(self, vm: VmView, free: float) -> float | None:
        rules = self._rules
        if vm.actual >= vm.memory:
            return None
        least = max(vm.minimum, self._monitors[vm.name].used + rules.min_guest_free_percent * vm.actual)
        size = max(min(vm.actual * (1 + rules.max_balloon_change_percent), vm.memory), least)
        size = min(size, vm.memory)
        return size if self._is_big_enough(vm, size) else None

    def _is_big_enough(self, vm: VmView, size: float) -> bool:
        return abs(size - vm.actual) > self._rules.min_balloon_change_percent * vm.actual
