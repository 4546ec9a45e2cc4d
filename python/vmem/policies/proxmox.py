"""Proxmox VE's automatic ballooning (pve-manager 138cae8, PVE/AutoBalloon.pm and pvestatd)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from vmem.decode import Bytes
from vmem.policies.model import Percent, Rules, Share, Targets
from vmem.policies.views import HostView, VmView

_MIB = 1 << 20


class ProxmoxRules(Rules, frozen=True, kw_only=True):
    """The defaults are those of a node without settings of its own."""

    name: ClassVar[str] = "proxmox"
    interval: ClassVar[int] = 10 * 10**9
    """pvestatd's loop."""

    target: Percent = 80.0
    """Of the host's memory, in percent, that is to be used: the node's `ballooning-target`."""
    max_change: Annotated[Bytes, Meta(description="a size")] = 100 * _MIB
    """Of one VM in a round."""
    dead_band: Bytes = 10 * _MIB
    """Nothing is done while no more than this is to be gained or given."""
    comfort: Share = 0.25
    """A guest with more free than this share of its minimum gives first, and gets last."""

    def start(self) -> Proxmox:
        return Proxmox(self)


class Proxmox:
    """A goal for the host, spread over the guests by their shares. It remembers nothing.

    A VM without a minimum, or with no shares, is left alone.
    """

    def __init__(self, rules: ProxmoxRules) -> None:
        self._rules = rules

    def decide(self, host: HostView, vms: Sequence[VmView]) -> Targets:
        """Who is in need grows first, who is comfortable shrinks first; everybody, if that does not help."""
        goal = int(host.memory * self._rules.target / 100) - (host.memory - host.free)
        if abs(goal) <= self._rules.dead_band:
            return {}
        able = [vm for vm in vms if vm.minimum and vm.shares]
        first = [vm for vm in able if self._is_comfortable(vm) == (goal < 0)]
        new: dict[str, int] = {}
        rest = self._spread(new, first, goal)
        if (rest >= goal) if goal > 0 else (rest <= goal):
            self._spread(new, able, rest)
        return new

    def _is_comfortable(self, vm: VmView) -> bool:
        free = vm.free
        return bool(free) and free > vm.minimum * self._rules.comfort and vm.actual >= vm.minimum  # type: ignore[operator]

    def _spread(self, new: dict[str, int], vms: list[VmView], wanted: int) -> int:
        """Changes the VMs' sizes by so much together, in rounds. Returns what could not be placed."""
        rest, settled = wanted, set[str]()
        while rest:
            open_ = [vm for vm in vms if vm.name not in settled]
            shares = sum(vm.shares for vm in open_)
            pool = sum(new.get(vm.name, vm.actual) - vm.minimum for vm in open_) + rest
            changed = 0
            for vm in open_:
                size = self._step(vm, vm.minimum + int(pool / shares * vm.shares), wanted > 0)
                if size is None:
                    settled.add(vm.name)
                    continue
                changed += size - new.get(vm.name, vm.actual)
                new[vm.name] = size
            rest -= changed
            if not changed:
                break
        return rest

    def _step(self, vm: VmView, desired: int, grows: bool) -> int | None:
        """One VM's way towards what it should have; None: it is there, or on the wrong side."""
        desired = min(max(desired, vm.minimum), vm.memory)
        if grows and desired > vm.actual:
            return min(vm.actual + self._rules.max_change, desired)
        if desired < vm.actual:
            return max(vm.actual - self._rules.max_change, desired)
        return None
