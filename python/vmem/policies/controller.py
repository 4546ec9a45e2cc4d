"""Runs a policy on a host: asks it at its times, does what it says, and survives what it does wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from vmem import checks
from vmem.balloon import UNKNOWN, Balloon
from vmem.durations import Duration, parse_duration
from vmem.errors import ConfigError
from vmem.hypervisor import Hypervisor, Vm
from vmem.policies.accept import accept_targets
from vmem.policies.model import Policy
from vmem.policies.views import HostView, VmView

FLOOR = 0.25
"""Of a VM's memory: the least that a policy leaves it, unless told otherwise."""
STATISTICS = 2
"""Seconds between a guest's statistics, unless its balloon is already polled: what Proxmox VE asks for."""


@dataclass(frozen=True)
class Limits:
    """What the operator said about one VM."""

    minimum: int
    """Bytes."""
    shares: int = 1000


class PolicyRow(msgspec.Struct, frozen=True, array_like=True):
    """One VM when the policy was asked: a row of policy.csv. Sizes are bytes."""

    time_ns: int
    vm: str
    wanted: int | None
    """What the policy asked for, within limits; None: nothing new."""
    target: int
    """What the guest was to keep before that."""
    actual: int
    resident: int
    guest_free: int | None
    """As the guest last told."""
    age_ns: int | None
    """How old that was."""
    stalled_us: int | None


@dataclass(frozen=True)
class Incident:
    """A policy did what it should not; the VMs went on as they were."""

    at: int
    """Nanoseconds of the host's clock."""
    subject: str
    """The VM that it was about, or "host"."""
    message: str


@dataclass
class Controller:
    """A policy at work on a host, every `interval` of its simulated time from now on."""

    host: Hypervisor
    policy: Policy
    interval: Duration = "10s"
    limits: Mapping[str, Limits] = field(default_factory=dict)
    """By VM; of others the minimum is a quarter of their memory."""
    agents: bool = True
    """Whether guests report their memory pressure."""

    def __post_init__(self) -> None:
        self._period = parse_duration(self.interval, "interval of a policy")
        if not 10**6 <= self._period <= 10**15:
            raise ConfigError(f"interval of a policy: {self.interval!r}; accepted is from 1 ms to 10**15 ns")
        checks.flag(self.agents, "agents")
        self.due = self.host.now + self._period
        self.rows: list[PolicyRow] = []
        self.incidents: list[Incident] = []
        self._poll()

    def run(self, duration: Duration, *, progress: Callable[[int], None] | None = None) -> None:
        """Lets simulated time pass, programs run and the policy decide. `progress(nanoseconds)`."""
        began = self.host.now
        until = began + parse_duration(duration, "run")
        self.run_until(until, progress)
        while self.host.now < until:  # the programs have ended, the guests have not
            self.host.advance(min(until, max(self.due, self.host.now)) - self.host.now)
            self.decide_if_due()

    def run_until(self, until: int, progress: Callable[[int], None] | None = None) -> None:
        """Lets programs run to that time of the host's clock, or their end, and the policy decide."""
        began = self.host.now
        while self.host.now < until:
            passed = self.host.now - began
            part = None if progress is None else _from(passed, progress)
            summary = self.host.run(max(0, min(until, self.due) - self.host.now), progress=part)
            self.decide_if_due()
            if summary.ended == "programs":
                return

    def decide_if_due(self) -> None:
        """Asks the policy if it is time."""
        if self.host.now < self.due:
            return
        self.due += self._period * (1 + (self.host.now - self.due) // self._period)
        self.decide()
        self._poll()

    def _poll(self) -> None:
        """Guests that came since tell their statistics from now on."""
        for vm in self.host:
            if vm.balloon is not None and not vm.balloon.polling_interval:
                vm.balloon.polling_interval = STATISTICS

    def decide(self) -> None:
        """Asks the policy now, and sets the targets that it gives."""
        vms = {vm.name: (vm, vm.balloon) for vm in self.host if vm.balloon is not None and not vm.is_killed}
        views = [self._view(vm, balloon) for vm, balloon in vms.values()]
        targets = self._ask(self._host_view(), views)
        for view in views:
            wanted = targets.get(view.name)
            if wanted is not None and wanted != view.target:
                vms[view.name][1].target = wanted
            self.rows.append(_row(self.host.now, view, wanted))

    def _ask(self, host: HostView, views: list[VmView]) -> dict[str, int]:
        try:
            answer: object = self.policy.decide(host, tuple(views))
            targets, wrong = accept_targets(answer, views)
        except Exception as error:
            # A policy is anybody's code: whatever it raises is its own fault, and the VMs' business goes on.
            targets, wrong = {}, [("host", f"it raised {type(error).__name__}: {_line(error)}")]
        for subject, message in wrong:
            self.host.log("policy_incident", subject, incident=len(self.incidents))
            self.incidents.append(Incident(self.host.now, subject, message))
        return targets

    def _host_view(self) -> HostView:
        info = self.host.meminfo()
        return HostView(self.host.now, info["total"], info["free"], info["swap_total"], info["swap_used"])

    def _view(self, vm: Vm, balloon: Balloon) -> VmView:
        told = balloon.last_update
        limits = self.limits.get(vm.name) or Limits(int(vm.memory * FLOOR))
        can_sample = vm.mmu in ("nested", "shadow")
        return VmView(
            name=vm.name,
            memory=vm.memory,
            minimum=limits.minimum,
            shares=limits.shares,
            target=balloon.target,
            actual=balloon.actual,
            resident=vm.resident,
            swapped=vm.swapped,
            stats=MappingProxyType(
                {name: value for name, value in balloon.stats.items() if value != UNKNOWN}
            ),
            age=None if told is None else self.host.now - told,
            stalled=int(vm.guest.pressure()["some"]["total"]) if self.agents and not vm.paused else None,
            sampler=vm.sample_activity if can_sample else lambda pages: (0, 0),
            sampled=(vm.sampled_activity if vm.sampled_activity[1] else None) if can_sample else None,
        )


def _row(now: int, view: VmView, wanted: int | None) -> PolicyRow:
    return PolicyRow(
        now,
        view.name,
        None if wanted == view.target else wanted,
        view.target,
        view.actual,
        view.resident,
        view.free,
        view.age,
        view.stalled,
    )


def _from(base: int, progress: Callable[[int], None]) -> Callable[[int], None]:
    return lambda done: progress(base + done)


def _line(error: Exception) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "its message cannot be shown"
    return text[:200]
