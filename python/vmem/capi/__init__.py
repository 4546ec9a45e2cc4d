"""The C interface from Python, through cffi: `lib.vmem_…` and `ffi`, as `vmem/vmem.h` declares them.

For programs that are to become C ones, and for tests of the library itself; `vmem.Mmu` and `vmem.Hypervisor`
are the Python interface::

    from vmem.capi import check, ffi, lib, structure

    config = structure("vmem_host_config")
    config.memory = 1 << 30
    out = ffi.new("vmem_host **")
    check(lib.vmem_host_create(config, out))
"""

from __future__ import annotations

from typing import Any

from vmem.capi._interface import ffi
from vmem.embedding import get_library
from vmem.errors import ConfigError, FileError, InvariantError, OutOfMemory, VmemError

__all__ = ["check", "ffi", "lib", "structure"]

lib = ffi.dlopen(str(get_library()))
if lib.vmem_abi_version() != 0:
    raise ImportError(
        f"{get_library()} has another interface than this vmem: {lib.vmem_abi_version()}, not 0"
    )

_ERRORS = {
    lib.VMEM_E_ARGUMENT: ConfigError,
    lib.VMEM_E_HANDLE: ConfigError,
    lib.VMEM_E_STRUCTURE: ConfigError,
    lib.VMEM_E_BUSY: ConfigError,
    lib.VMEM_E_MEMORY: OutOfMemory,
    lib.VMEM_E_INVARIANT: InvariantError,
    lib.VMEM_E_IO: FileError,
}


def check(status: int) -> int:
    """Raises for a refusal, with its sentence; results that are no errors come back."""
    if status < 0:
        message = ffi.string(lib.vmem_last_error()).decode(errors="replace")
        raise _ERRORS.get(status, VmemError)(message)
    return status


def structure(name: str) -> Any:
    """A structure of the interface by name, with its size set and everything else as usual."""
    made = ffi.new(f"{name} *")
    made.size = ffi.sizeof(name)
    return made
