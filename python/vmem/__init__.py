"""vmem: a simulator of memory virtualization."""

from vmem._core import __version__
from vmem.cpu import Cpu, Psc, Tlb
from vmem.errors import ConfigError, InvariantError, OutOfMemory, SegmentationFault, TraceError, VmemError
from vmem.silicon import Mmu, PhysicalMemory

__all__ = [
    "ConfigError",
    "Cpu",
    "InvariantError",
    "Mmu",
    "OutOfMemory",
    "PhysicalMemory",
    "Psc",
    "SegmentationFault",
    "Tlb",
    "TraceError",
    "VmemError",
    "__version__",
]
