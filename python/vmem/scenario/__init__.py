"""Scenarios: a host, its virtual machines and what runs in them. Guide: docs/guides/scenarios.md."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from vmem.cpu import Cpu
from vmem.decode import Place, decode_table
from vmem.errors import ConfigError, TraceError
from vmem.scenario.fleet import expand
from vmem.scenario.model import MODES, PAGES, Document, Host, HostProcess, Process, Run, Vm
from vmem.scenario.policy import PolicyChoice
from vmem.scenario.workloads import FileScan, Stream, Workload
from vmem.traces import Trace, shipped

__all__ = [
    "BUILT_IN",
    "MODES",
    "PAGES",
    "Host",
    "HostProcess",
    "PolicyChoice",
    "Process",
    "Run",
    "Scenario",
    "Vm",
    "Workload",
]

BUILT_IN = Path(__file__).parent.parent / "data" / "scenarios" / "default.toml"

_PAGE = 4096
_LEAST_MEMORY = 1 << 20


@dataclass(frozen=True)
class Scenario:
    """A scenario that is complete and checked: every name, size and trace in it is good."""

    name: str
    text: str
    host: Host
    vms: tuple[Vm, ...]
    run: Run
    host_processes: tuple[HostProcess, ...] = ()
    traces: dict[str, Trace] = field(default_factory=dict)
    """By what the scenario calls them."""
    policy: PolicyChoice | None = None

    @classmethod
    def load(cls, path: Path | str = BUILT_IN) -> Scenario:
        """Reads and checks a file. ConfigError names the file, the key, its value and what is accepted."""
        file = Path(path)
        try:
            text = file.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise ConfigError(f"{file}: not UTF-8 text (at byte {error.start})") from None
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}; accepted is a scenario, a TOML file") from None
        return cls.parse(text, file=str(file), base=file.parent)

    @classmethod
    def parse(cls, text: str, *, file: str = "scenario", base: Path | None = None) -> Scenario:
        """Checks a scenario's text. Traces are sought relative to `base`; `file` is its name in errors."""
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{file}: not TOML: {error}") from None
        return cls.of(tables, text, file=file, base=base)

    @classmethod
    def of(
        cls, tables: dict[str, Any], text: str, *, file: str = "scenario", base: Path | None = None
    ) -> Scenario:
        """Checks a scenario's tables; `text` is what they were read from."""
        at = Place(file, base=base or Path())
        document = decode_table(Document, _with_fleets(tables, at), at)
        _check_host(document, at)
        _check_run(document, at.key("run"))
        _check_host_processes(document, at.key("host_process"))
        _check_policy(document, at.key("policy"))
        taken: set[str] = set()
        traces: dict[str, Trace] = {}
        for i, vm in enumerate(document.vm):
            where = at.key("vm").index(i)
            _check_vm(vm, document.host, taken, where)
            _check_stay(vm, document.run, where)
            for j, process in enumerate(vm.process):
                place = where.key("process").index(j)
                _check_process(process, vm, traces, base or Path(), place)
                _check_timed(process, document.run, place)
        return cls(
            Path(file).stem,
            text,
            document.host,
            _with_balloons(document),
            document.run,
            document.host_process,
            traces,
            document.policy,
        )

    @property
    def machines(self) -> int:
        """How many VMs."""
        return sum(vm.count for vm in self.vms)


def _check_host(document: Document, at: Place) -> None:
    host = document.host
    _check_memory(host.memory, at.key("host").key("memory"))
    if host.swap % _PAGE:
        at.key("host").key("swap").reject(host.swap, "a multiple of 4 KiB")
    if host.swap_dir is not None and not Path(host.swap_dir).is_dir():
        at.key("host").key("swap_dir").reject(host.swap_dir, "a directory that exists")
    _check_cpu(host.cpu, at.key("host").key("cpu"))
    native = sum(vm.memory * vm.count for vm in document.vm if vm.mmu == "native")
    if native > host.memory:
        raise ConfigError(
            f"{at.key('host').key('memory')}: {host.memory} bytes; accepted is at least what the native "
            f"machines own, {native} bytes"
        )


def _check_run(document: Document, at: Place) -> None:
    quantum, duration = document.host.quantum, document.run.duration
    if not 1000 <= quantum <= 10**9:
        Place(at.file).key("host").key("quantum").reject(quantum, "from 1 us to 1 s")
    if duration is not None and not 10**6 <= duration <= 10**18:
        at.key("duration").reject(duration, "from 1 ms to 10**18 ns")


def _check_host_processes(document: Document, at: Place) -> None:
    for i, process in enumerate(document.host_process):
        where = at.index(i)
        if document.run.duration is None:
            raise ConfigError(f"{where}: accepted in a run over time only: give [run] a duration")
        if process.name in [other.name for other in document.host_process[:i]]:
            where.key("name").reject(process.name, "a name that no other host process has")
        if not 0 < process.memory < document.host.memory:
            where.key("memory").reject(
                process.memory, f"more than 0 and less than the host's memory, {document.host.memory} bytes"
            )
        if process.end is not None and process.end <= process.start:
            where.key("end").reject(process.end, f"a time after its start, {process.start} ns")


def _check_policy(document: Document, at: Place) -> None:
    if document.policy is not None and document.run.duration is None:
        raise ConfigError(f"{at}: accepted in a run over time only: give [run] a duration")


def _with_fleets(tables: dict[str, Any], at: Place) -> dict[str, Any]:
    """The VMs of fleets as tables [[vm]] after the others."""
    if "fleet" not in tables:
        return tables
    host = tables.get("host")
    seed = host.get("seed", 1) if isinstance(host, dict) else 1
    if not isinstance(seed, int):
        at.key("host").key("seed").reject(seed, "a number from 0 to 2**63 - 1")
    vms = tables.get("vm", [])
    if not isinstance(vms, list):
        at.key("vm").reject(vms, "one or more tables, each after [[vm]]")
    rest = {key: value for key, value in tables.items() if key != "fleet"}
    return {**rest, "vm": [*vms, *expand(tables["fleet"], at.key("fleet"), seed)]}


def _with_balloons(document: Document) -> tuple[Vm, ...]:
    """Under a policy every VM that can have a balloon, and does not say otherwise, has one."""
    if document.policy is None:
        return document.vm
    return tuple(
        structs.replace(vm, balloon=True) if vm.balloon is None and vm.mmu != "native" else vm
        for vm in document.vm
    )


def _check_timed(process: Process, run: Run, at: Place) -> None:
    workload = process.workload
    if workload is not None and run.duration is None and not isinstance(workload, Stream):
        raise ConfigError(
            f'{at.key("workload").key("kind")}: "{workload.kind}"; accepted in a run over time only: give '
            "[run] a duration"
        )


def _check_vm(vm: Vm, host: Host, taken: set[str], at: Place) -> None:
    for name in vm.names:
        if name in taken:
            raise ConfigError(
                f"{at.key('name')}: {vm.name!r} gives a second VM {name!r}; accepted is a new name"
            )
        taken.add(name)
    _check_memory(vm.memory, at.key("memory"))
    if vm.memory > 1 << 46:
        at.key("memory").reject(vm.memory, "at most 64 TiB")
    if vm.sync is not None and vm.mmu != "shadow":
        raise ConfigError(f'{at.key("sync")}: {vm.sync!r}; accepted with mmu = "shadow" only')
    if vm.software_tlb is not None and vm.mmu != "software-tlb":
        raise ConfigError(
            f'{at.key("software_tlb")}: {vm.software_tlb}; accepted with mmu = "software-tlb" only'
        )
    if vm.software_tlb is not None and vm.software_tlb % 4:
        at.key("software_tlb").reject(vm.software_tlb, "a multiple of 4")
    if vm.reclaim not in ("swap", "none") and vm.mmu == "native":
        raise ConfigError(
            f'{at.key("reclaim")}: "{vm.reclaim}"; accepted with a hypervisor, not with mmu = "native"'
        )
    if vm.reclaim in ("balloon", "reporting") and vm.balloon is False:
        raise ConfigError(
            f'{at.key("reclaim")}: "{vm.reclaim}"; accepted with a balloon, not with balloon = false'
        )
    if vm.balloon and vm.mmu == "native":
        raise ConfigError(f'{at.key("balloon")}: true; accepted with a hypervisor, not with mmu = "native"')
    if vm.cpu is not None:
        _check_cpu(vm.cpu, at.key("cpu"))
    _check_devices(vm, at)
    _check_share(vm, host, at)


def _check_stay(vm: Vm, run: Run, at: Place) -> None:
    for key, time in (("arrives", vm.arrives), ("departs", vm.departs)):
        if time and run.duration is None:
            raise ConfigError(f"{at.key(key)}: accepted in a run over time only: give [run] a duration")
    if run.duration is not None and vm.arrives >= run.duration:
        at.key("arrives").reject(vm.arrives, f"a time before the run's end, {run.duration} ns")
    if vm.departs is not None and vm.departs <= vm.arrives:
        at.key("departs").reject(vm.departs, f"a time after its arrival, {vm.arrives} ns")


def _check_devices(vm: Vm, at: Place) -> None:
    for key, size in (("disk", vm.disk), ("swap", vm.swap)):
        if size is None:
            continue
        if not _PAGE <= size <= 1 << 46 or size % _PAGE:
            at.key(key).reject(size, "a positive multiple of 4 KiB, at most 64 TiB")
    files = sum(process.workload.size for process in vm.process if isinstance(process.workload, FileScan))
    if files > (vm.disk or 0):
        at.key("disk").reject(vm.disk, f"at least what its programs scan, {files} bytes")


def _check_share(vm: Vm, host: Host, at: Place) -> None:
    if not 0 <= vm.reservation <= vm.memory or vm.reservation % _PAGE:
        at.key("reservation").reject(vm.reservation, "a multiple of 4 KiB up to the VM's memory")
    if vm.minimum is not None and not 0 <= vm.minimum <= vm.memory:
        at.key("minimum").reject(vm.minimum, "a size up to the VM's memory")
    if vm.limit is not None and (vm.limit < vm.reservation or vm.limit <= 0 or vm.limit % _PAGE):
        at.key("limit").reject(vm.limit, "a positive multiple of 4 KiB, no less than the reservation")
    if vm.limit is not None and not host.swap:
        raise ConfigError(f"{at.key('limit')}: {vm.limit}; accepted with a swap of the host: [host] swap")


def _check_memory(size: int, at: Place) -> None:
    if size < _LEAST_MEMORY or size % _PAGE:
        at.reject(size, f"a multiple of 4 KiB from {_LEAST_MEMORY} bytes")


def _check_cpu(name: str, at: Place) -> None:
    if name not in Cpu.presets():
        at.reject(name, f"one of {', '.join(Cpu.presets())}")


def _check_process(process: Process, vm: Vm, traces: dict[str, Trace], base: Path, at: Place) -> None:
    if (process.trace is None) == (process.workload is None):
        raise ConfigError(f"{at}: accepted is either a trace or a workload, and one of them")
    room = vm.memory + (vm.swap or 0)
    if process.workload is not None and process.workload.extent > room:
        key = "curve" if process.workload.kind == "demand" else "size"
        at.key("workload").key(key).reject(
            process.workload.extent, f"at most the VM's memory and its swap, {room} bytes"
        )
    if process.trace is not None and process.trace not in traces:
        traces[process.trace] = _open_trace(process.trace, base, at.key("trace"))


def _open_trace(name: str, base: Path, at: Place) -> Trace:
    path, ours = base / name, shipped()
    if not path.exists():
        if name not in ours:
            at.reject(name, f"a file (there is no {str(path)!r}) or one of {', '.join(ours)}")
        path = ours[name]
    try:
        return Trace.open(path)
    except TraceError as error:
        raise ConfigError(f"{at}: {error}") from None
