"""ESX's allocation of memory: proportional shares, idle-memory tax, sampled activity, four host states.

Waldspurger, "Memory Resource Management in VMware ESX Server", OSDI 2002, sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from vmem.decode import Nanoseconds
from vmem.policies.esx_activity import ActivityEstimate
from vmem.policies.esx_allocation import Claim, allocate
from vmem.policies.model import Percent, Rules, Targets
from vmem.policies.views import HostView, VmView
from vmem.reclaim import HostReclaim

Tax = Annotated[float, Meta(ge=0, lt=1, description="a share from 0, below 1")]
Gain = Annotated[float, Meta(gt=0, le=1, description="a gain above 0, at most 1")]


class EsxRules(Rules, frozen=True, kw_only=True):
    """The paper's defaults, and ESX's settings (Resource Management Guide, table B-2) where it names none."""

    name: ClassVar[str] = "esx"
    interval: ClassVar[int] = 15 * 10**9
    """Mem.BalancePeriod."""

    tax: Tax = 0.75
    """The idle-memory tax rate (Mem.IdleTax)."""
    samples: Annotated[int, Meta(ge=1, le=10**6, description="a number of pages from 1 to 1,000,000")] = 100
    """Pages of each VM that are drawn in a period."""
    sample_period: Nanoseconds = 30 * 10**9
    """The paper's; Mem.SamplePeriod of later versions is 60 s."""
    slow_gain: Gain = 0.125
    fast_gain: Gain = 0.5
    """Of the moving averages, at every complete sample. Not published: chosen so that half of a change shows
    in one period in the fast one, in five in the slow one.
    """
    max_balloon: Percent = 65.0
    """Mem.CtlMaxPercent: the most of its memory that a VM's balloon may take."""
    high: Percent = 6.0
    """Percent of the host's memory that is to be free; ballooning goes on until it is."""
    soft: Percent = 4.0
    """With less free, balloons take memory."""
    hard: Percent = 2.0
    """With less free, the host swaps by itself besides."""
    low: Percent = 1.0

    def start(self) -> Esx:
        return Esx(self)

    def reclaim(self) -> HostReclaim:
        """The host swaps from the hard state on, up to the soft one: the rest is the balloons'."""
        return HostReclaim(
            balloons=False,
            soft=(self.hard, self.soft),
            hard=(self.low * 1.5, self.hard),
            low=(self.low, self.low * 1.5),
        )


class Esx:
    """Allocations follow shares, limits and activity; memory moves when it is short or somebody needs it."""

    def __init__(self, rules: EsxRules) -> None:
        self._rules = rules
        self._estimates: dict[str, ActivityEstimate] = {}
        self._next_sample = 0
        self._is_short = False

    def decide(self, host: HostView, vms: Sequence[VmView]) -> Targets:
        """In the high state nobody gives memory, unless another is to grow and there is no room for both."""
        self._sample(host.now, vms)
        available = host.free + sum(vm.resident for vm in vms) - host.memory * self._rules.high / 100
        sizes = allocate([self._claim(vm) for vm in vms], available, self._rules.tax)
        targets = {vm.name: size for vm, size in zip(vms, sizes, strict=True)}
        if self._enter_state(host):
            return targets
        growing = {vm.name: targets[vm.name] for vm in vms if targets[vm.name] > vm.target}
        promised = sum(growing.get(vm.name, vm.target) for vm in vms)
        return growing if promised <= available else targets if growing else {}

    def active(self, vm: VmView) -> float:
        """Bytes of the VM that are active, by the estimate."""
        touched, pages = vm.sampled or (0, 0)
        return self._estimates[vm.name].value(touched / pages if pages else None) * vm.memory

    def _enter_state(self, host: HostView) -> bool:
        """Whether the host is short of memory: below `soft`, and then until `high` is free again."""
        free = 100 * host.free / host.memory
        self._is_short = free < (self._rules.high if self._is_short else self._rules.soft)
        return self._is_short

    def _sample(self, now: int, vms: Sequence[VmView]) -> None:
        rules = self._rules
        self._estimates = {
            vm.name: self._estimates.get(vm.name) or ActivityEstimate(rules.slow_gain, rules.fast_gain)
            for vm in vms
        }
        if now < self._next_sample:
            return
        self._next_sample = now + rules.sample_period
        for vm in vms:
            counted = vm.sample(rules.samples)
            if counted is not None:
                self._estimates[vm.name].add(counted[0] / counted[1])

    def _claim(self, vm: VmView) -> Claim:
        least = max(vm.minimum, vm.memory * (1 - self._rules.max_balloon / 100))
        return Claim(vm.shares, least, vm.memory, self.active(vm))
