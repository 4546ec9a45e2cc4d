"""Probing for the least memory that does not hurt, by the guest's own pressure: Senpai's rule.

Senpai (facebookincubator/senpai c51e8e2, senpai.py) moves the `memory.high` of a cgroup; here it is the
guest's balloon that moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from vmem.decode import Bytes
from vmem.policies.model import Rules, Share, Targets
from vmem.policies.views import HostView, VmView

_PAGE = 4096
Positive = Annotated[float, Meta(gt=0, description="a number above 0")]


class PsiRules(Rules, frozen=True, kw_only=True):
    """The names and defaults of senpai.py's options, `headroom` apart."""

    name: ClassVar[str] = "psi"
    interval: ClassVar[int] = 10**9
    """A tick."""

    probe_ticks: Annotated[int, Meta(ge=1, le=10**6, description="a number of ticks from 1")] = 6
    """`--interval`: ticks without pressure before memory is taken."""
    pressure: Positive = 10_000.0
    """Microseconds of stall that are aimed at between two changes."""
    max_probe: Share = 0.01
    max_backoff: Positive = 1.0
    coeff_probe: Positive = 10.0
    coeff_backoff: Positive = 20.0
    min_size: Bytes = 100 << 20
    max_size: Bytes = 100 << 30
    headroom: Share = 0.10
    """It begins at what the guest uses and this share of it: kernels keep memory free, cgroups need not."""

    def start(self) -> Psi:
        return Psi(self)


class _Limit:
    """One guest's limit."""

    def __init__(self, size: float, stalled: int, ticks: int) -> None:
        self.size, self.stalled, self.grace = size, stalled, ticks
        self.integral = 0


class Psi:
    """A limit for each guest that reports its pressure; others are left alone."""

    def __init__(self, rules: PsiRules) -> None:
        self._rules = rules
        self._limits: dict[str, _Limit] = {}

    def decide(self, host: HostView, vms: Sequence[VmView]) -> Targets:
        """One tick."""
        names = {vm.name for vm in vms}
        self._limits = {name: limit for name, limit in self._limits.items() if name in names}
        targets: dict[str, float] = {}
        for vm in vms:
            if vm.stalled is None:
                continue
            limit = self._limits.get(vm.name)
            if limit is None:
                if vm.free is None:
                    continue
                limit = self._begin(vm, vm.stalled, vm.free)
            else:
                self._tick(limit, vm.stalled)
            limit.size = self._within(limit.size, vm)
            targets[vm.name] = limit.size
        return targets

    def _begin(self, vm: VmView, stalled: int, free: int) -> _Limit:
        used = max(0, vm.actual - free)
        limit = _Limit(min(used * (1 + self._rules.headroom), vm.actual), stalled, self._rules.probe_ticks)
        self._limits[vm.name] = limit
        return limit

    def _tick(self, limit: _Limit, stalled: int) -> None:
        rules = self._rules
        limit.integral += stalled - limit.stalled
        limit.stalled = stalled
        if limit.integral > rules.pressure:
            factor = (limit.integral / rules.pressure / rules.coeff_backoff) ** 2
            self._adjust(limit, min(factor * rules.max_backoff, rules.max_backoff))
        elif limit.grace:
            limit.grace -= 1
        else:
            factor = (rules.pressure / max(limit.integral, 1) / rules.coeff_probe) ** 2
            self._adjust(limit, -min(factor * rules.max_probe, rules.max_probe))

    def _adjust(self, limit: _Limit, factor: float) -> None:
        limit.size += limit.size * factor
        limit.integral = 0
        limit.grace = self._rules.probe_ticks - 1

    def _within(self, size: float, vm: VmView) -> float:
        least = min(max(self._rules.min_size, vm.minimum), vm.memory)
        most = max(least, min(self._rules.max_size, vm.memory))
        return int(min(max(size, least), most)) & -_PAGE
