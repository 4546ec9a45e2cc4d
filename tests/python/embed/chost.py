"""A host of the C interface in Python, for tests that hold it against the Python one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import vmem


class CHost:
    """What `members` say of it; everything else as usual. Numbers as the interface gives them."""

    def __init__(self, **members: Any) -> None:
        from vmem.capi import check, ffi, lib, structure

        self.ffi, self.lib, self.check, self._structure = ffi, lib, check, structure
        out = ffi.new("vmem_host **")
        check(lib.vmem_host_create(self.structure("vmem_host_config", **members), out))
        self._callbacks: list[Any] = []
        self.host = ffi.gc(out[0], lib.vmem_host_destroy)

    def structure(self, name: str, /, **members: Any) -> Any:
        made = self._structure(name)
        for member, value in members.items():
            setattr(made, member, value)
        return made

    def ask(self, kind: str, function: str, *arguments: Any) -> int:
        """What a function writes to its last argument."""
        out = self.ffi.new(f"{kind} *")
        self.check(getattr(self.lib, function)(self.host, *arguments, out))
        return int(out[0])

    def told(self, kind: str, function: str, *arguments: Any) -> Any:
        """The structure that a function fills."""
        out = self._structure(kind)
        self.check(getattr(self.lib, function)(self.host, *arguments, out))
        return out

    def create_vm(self, **members: Any) -> int:
        return self.ask("uint32_t", "vmem_vm_create", self.structure("vmem_vm_config", **members))

    def spawn(self, vm: int, name: bytes = b"app") -> int:
        return self.ask("uint32_t", "vmem_process_spawn", vm, name)

    def start(self, vm: int, process: int, kind: int, vcpu: int = 0, **members: Any) -> int:
        given = self.structure("vmem_workload", kind=kind, **members)
        return self.ask("uint64_t", "vmem_process_start", vm, vcpu, process, given)

    def start_trace(self, vm: int, process: int, **members: Any) -> int:
        given = self.structure("vmem_trace", **members)
        self._callbacks.append(members.get("next"))
        return self.ask("uint64_t", "vmem_process_start_trace", vm, 0, process, given)

    def run(self, nanoseconds: int, references: int = 0) -> str:
        ended = self.ask("uint32_t", "vmem_host_run", nanoseconds, references)
        return ("time", "programs", "references")[ended]

    @property
    def now(self) -> int:
        return self.ask("uint64_t", "vmem_host_now")

    def counters(self, vm: int, names: Mapping[str, int]) -> dict[str, int]:
        return {name: self.ask("uint64_t", "vmem_vm_counter", vm, name.encode()) for name in names}

    def costs(self, program: int) -> dict[int, int]:
        count = self.ffi.new("uint64_t *")
        ask = self.lib.vmem_program_costs
        self.check(ask(self.host, program, self.ffi.NULL, self.ffi.NULL, 0, count))
        arrays = [self.ffi.new("uint64_t[]", count[0]) for _ in range(2)]
        self.check(ask(self.host, program, *arrays, count[0], count))
        return dict(zip(*map(list, arrays), strict=True))


def assert_alike(c: CHost, vm: int, program: int, twin: vmem.Vm, of_twin: Any) -> Any:
    """A program and its VM did the same through both interfaces; the program's state comes back."""
    state = c.told("vmem_program_state", "vmem_program_get_state", program)
    stopped = None if state.stopped == c.ffi.NULL else c.ffi.string(state.stopped).decode()
    first = state.first_segfault if state.segfaults else None
    bursts = (state.bursts, state.burst_bytes, state.burst_ns, state.longest_burst_ns, state.bursts_cut_short)
    found = (state.references, state.segfaults, first, state.times, bool(state.ended), stopped)
    assert found == (
        *(of_twin.references, of_twin.segfaults, of_twin.first_segfault),
        *(of_twin.runs, of_twin.ended, of_twin.stopped),
    )
    assert state.progressed_at == of_twin.progressed_at
    assert bursts == tuple(of_twin.bursts)
    assert c.costs(program) == of_twin.costs
    time = c.told("vmem_vm_time", "vmem_vm_get_time", vm)
    of_vm = twin.time()
    assert (time.references, time.running, time.waiting, time.runnable) == (
        *(of_vm.references, of_vm.running, of_vm.waiting, of_vm.runnable),
    )
    expected = twin.counters()
    assert c.counters(vm, expected) == expected
    return state
