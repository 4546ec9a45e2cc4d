"""What a policy can see: no more than a controller on a real host can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

FREE, TOTAL, AVAILABLE = "stat-free-memory", "stat-total-memory", "stat-available-memory"
"""Statistics of a guest, by QEMU's names: /proc/meminfo's MemFree, MemTotal, MemAvailable."""

Sampler = Callable[[int], tuple[int, int]]


@dataclass(frozen=True)
class HostView:
    """The host, as /proc/meminfo and the like tell it. Sizes are bytes."""

    now: int
    """Nanoseconds of the host's clock."""
    memory: int
    free: int
    swap: int
    swap_used: int


@dataclass(frozen=True)
class VmView:
    """A VM with a balloon, as its devices and the hypervisor's tables tell it. Sizes are bytes."""

    name: str
    memory: int
    """RAM that it was promised."""
    minimum: int
    """The least that the operator lets a policy leave it."""
    shares: int
    target: int
    """What its guest was last asked to keep."""
    actual: int
    """What its guest keeps, by its own word."""
    resident: int
    swapped: int
    """Of it, in the host's swap."""
    stats: Mapping[str, int]
    """What its guest last told, by QEMU's names; without what it never told."""
    age: int | None
    """How long ago it told that, in nanoseconds; None: never."""
    stalled: int | None
    """Microseconds that something in the guest has waited for memory ("some total" of its memory pressure),
    as an agent in the guest reports it; None: there is none.
    """
    sampler: Sampler
    sampled: tuple[int, int] | None
    """Of the running sample of its pages: how many were touched so far, how many it has; None: none runs."""

    def sample(self, pages: int) -> tuple[int, int] | None:
        """`Vm.sample_activity`: begins a sample, and tells of the one before; None where there is no such."""
        touched, of = self.sampler(pages)
        return (touched, of) if of else None

    @property
    def free(self) -> int | None:
        """Memory that its guest said nobody has; its page cache counts as used."""
        return self.stats.get(FREE)
