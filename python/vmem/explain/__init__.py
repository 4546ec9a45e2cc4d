"""One access told step by step: each lookup, each table entry read, who was given the fault and why, each
exit, each entry changed, and what every step costs. Guide: docs/guides/whose-fault.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmem import checks
from vmem.errors import ConfigError
from vmem.explain.model import Explanation, Step

if TYPE_CHECKING:
    from vmem.guest import Process
    from vmem.hypervisor import Vm

__all__ = ["KINDS", "Explanation", "Step", "explain"]

KINDS = ("load", "store", "fetch")


def explain(vm: Vm, process: Process, address: int, kind: str = "load") -> Explanation:
    """Makes one access of `process` at the guest-virtual `address` and tells what it met.

    The access is a real one: its faults are served, and the machine is afterwards as if `process.access` had
    made it. ConfigError for a process of another VM, a wrong kind or address.
    """
    if process._vm != vm._id or process._core is not vm._core:
        raise ConfigError(f"explain: {process!r} is not a process of {vm!r}")
    code = KINDS.index(checks.one_of(kind, "kind", KINDS))
    told = vm._core.explain(*process._where, checks.address(address, "explain"), code)
    return Explanation.from_core(told, vm, address, kind)
