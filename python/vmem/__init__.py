"""vmem: a simulator of memory virtualization."""

from typing import TYPE_CHECKING, Any

from vmem._core import __version__
from vmem.balloon import Balloon, BalloonDriver
from vmem.cpu import Cpu, Psc, Tlb
from vmem.embedding import get_cmake_dir, get_include, get_library, get_pkgconfig_dir
from vmem.errors import (
    ConfigError,
    FileError,
    InvariantError,
    OutOfMemory,
    SegmentationFault,
    TraceError,
    VmemError,
)
from vmem.events import Event
from vmem.files import File
from vmem.guest import UNMAPPED, Guest, Mapping, Process, batch
from vmem.host_process import HostProcess
from vmem.hypervisor import Hypervisor, Vcpu, Vm
from vmem.reclaim import HostReclaim
from vmem.silicon import Mmu, PhysicalMemory
from vmem.summary import Summary

if TYPE_CHECKING:
    from vmem.scenario.workloads import workload
    from vmem.traces import Trace

__all__ = [
    "UNMAPPED",
    "Balloon",
    "BalloonDriver",
    "ConfigError",
    "Cpu",
    "Event",
    "File",
    "FileError",
    "Guest",
    "HostProcess",
    "HostReclaim",
    "Hypervisor",
    "InvariantError",
    "Mapping",
    "Mmu",
    "OutOfMemory",
    "PhysicalMemory",
    "Process",
    "Psc",
    "SegmentationFault",
    "Summary",
    "Tlb",
    "Trace",
    "TraceError",
    "Vcpu",
    "Vm",
    "VmemError",
    "__version__",
    "batch",
    "get_cmake_dir",
    "get_include",
    "get_library",
    "get_pkgconfig_dir",
    "workload",
]


def __getattr__(name: str) -> Any:
    # Traces bring decompressors and parsers along: only those who read one pay for them.
    if name == "Trace":
        from vmem.traces import Trace

        return Trace
    if name == "workload":
        from vmem.scenario.workloads import workload

        return workload
    raise AttributeError(f"module 'vmem' has no attribute {name!r}")
