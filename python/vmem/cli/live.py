"""`vmem run --live`: the host in the terminal while it runs."""

from __future__ import annotations

import time
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from vmem.cli.live_frame import HostState, VmState, frame
from vmem.hypervisor import Hypervisor, Vm
from vmem.policies import PolicyRow
from vmem.rows import balloon_bytes, guest_memory

_EVERY = 0.1
"""Seconds between two pictures."""
_MOST = 20
"""Decisions that are looked at, from the end, for those that changed a target."""


class Watched(Protocol):
    """A run, as far as it can be looked at from its progress."""

    @property
    def hypervisor(self) -> Hypervisor: ...
    @property
    def decisions(self) -> list[PolicyRow]: ...


class LiveView:
    """Pictures of a run, drawn from its calls of `progress=`. It only looks: the run is what it was without.

    Everything happens in the caller's thread, so that Ctrl-C finds the terminal in a state to be left.
    """

    def __init__(self, run: Watched, what: str, console: Console) -> None:
        self._run, self._what, self._console = run, what, console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._began, self._drawn = time.monotonic(), float("-inf")
        self._waited: dict[str, int] = {}
        self._now = self._first = run.hypervisor.now

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._drawn < _EVERY:
            return
        size = self._console.size
        self._live.update(frame(self._look(done, total), size.width, size.height), refresh=True)
        self._drawn = time.monotonic()

    def _look(self, done: int, total: int) -> HostState:
        host = self._run.hypervisor
        info, now = host.meminfo(), host.now
        passed, self._now = now - self._now, now
        seconds = max(1e-9, time.monotonic() - self._began)
        return HostState(
            doing=self._what,
            done=done / max(1, total),
            now=now,
            speed=(now - self._first) / 1e9 / seconds,
            total=info["total"],
            free=info["free"],
            tables=info["tables"],
            processes=info["processes"],
            swap_total=info["swap_total"],
            swap_used=info["swap_used"],
            state=host.state,
            vms=tuple(self._vm(vm, passed) for vm in host),
            decisions=tuple(row for row in self._run.decisions[-_MOST:] if row.wanted is not None),
        )

    def _vm(self, vm: Vm, passed: int) -> VmState:
        guest, waited = guest_memory(vm), vm.time().waiting
        stalled = waited - self._waited.get(vm.name, waited)
        self._waited[vm.name] = waited
        return VmState(
            name=vm.name,
            memory=vm.memory,
            demand=guest.used,
            resident=vm.resident,
            ballooned=balloon_bytes(vm),
            target=vm.memory if vm.balloon is None else vm.balloon.target,
            swapped_by_host=vm.swapped,
            swapped_by_guest=guest.swapped,
            stall=min(1.0, stalled / (passed * len(vm.vcpus))) if passed else 0.0,
            killed=vm.is_killed,
        )
