"""Targets that never change: the host is cut in parts once and for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from vmem.policies.model import Rules, Share, Targets
from vmem.policies.views import HostView, VmView


class StaticRules(Rules, frozen=True, kw_only=True):
    """`share` of its memory for every VM; if not given, as much as makes all of them fit."""

    name: ClassVar[str] = "static"
    interval: ClassVar[int] = 10**9

    share: Annotated[float, Meta(gt=0, le=1, description="a share above 0, at most 1")] | None = None
    reserve: Share = 0.06
    """Of the host's memory: what is not given to VMs where `share` is not given."""

    def start(self) -> Static:
        return Static(self)


class Static:
    """The same share of its memory for every VM."""

    def __init__(self, rules: StaticRules) -> None:
        self._rules = rules

    def decide(self, host: HostView, vms: Sequence[VmView]) -> Targets:
        """Again every time, so that VMs that come later have their part."""
        share = self._rules.share
        if share is None:
            promised = sum(vm.memory for vm in vms)
            share = min(1.0, host.memory * (1 - self._rules.reserve) / promised) if promised else 1.0
        return {vm.name: max(vm.minimum, int(vm.memory * share)) for vm in vms}
