"""What a policy is, and what its parameters are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Protocol

import msgspec
from msgspec import Meta

from vmem.policies.views import HostView, VmView
from vmem.reclaim import HostReclaim

Targets = Mapping[str, float]
"""Bytes of RAM that guests should keep, by the names of their VMs. Who is left out keeps its target."""


class Policy(Protocol):
    """Decides how much memory each guest should keep."""

    def decide(self, host: HostView, vms: Sequence[VmView]) -> Targets:
        """Called once every interval of simulated time, with the VMs that live and have a balloon."""
        ...


LINUX_RECLAIM = HostReclaim(balloons=False, soft=(0.8, 1.2), hard=(0.5, 0.8), low=(0.2, 0.5))
"""When a Linux host swaps by itself, whatever a policy does: kswapd wakes near one percent of memory (with
the default watermark_scale_factor of 10, and min_free_kbytes of hosts with a few GiB).
"""

Share = Annotated[float, Meta(ge=0, le=1, description="a share from 0 to 1")]
Percent = Annotated[float, Meta(gt=0, lt=100, description="a percentage above 0 and below 100")]


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of a policy that comes with vmem; `start` gives the policy itself."""

    name: ClassVar[str]
    interval: ClassVar[int]
    """How often it is asked, in nanoseconds, unless told otherwise."""

    def start(self) -> Policy:
        """The policy, in its initial state."""
        raise NotImplementedError

    def reclaim(self) -> HostReclaim:
        """When its host takes memory by itself."""
        return LINUX_RECLAIM
