"""Hosts and VMs as a policy sees them, made up."""

from __future__ import annotations

from typing import Any

from vmem.policies import HostView, VmView

MIB = 1 << 20


def host(memory: int, free: int, now: int = 0) -> HostView:
    return HostView(now, memory * MIB, free * MIB, 0, 0)


def vm(name: str, memory: int, actual: int, free: int | None, **other: Any) -> VmView:
    """Sizes in MiB; `free` is what the guest told, None if it told nothing."""
    told = {} if free is None else {"stat-free-memory": free * MIB}
    given: dict[str, Any] = {
        "minimum": memory * MIB // 4,
        "shares": 1000,
        "target": actual * MIB,
        "resident": actual * MIB,
        "swapped": 0,
        "age": 0 if told else None,
        "stalled": None,
        "sampler": lambda pages: (0, 0),
        "sampled": None,
        **other,
    }
    return VmView(name=name, memory=memory * MIB, actual=actual * MIB, stats=told, **given)
