"""The errors vmem raises. A fault of the simulated machine is never one of them, but a segmentation fault of
a simulated program is.
"""

from __future__ import annotations

from os import PathLike, fspath


class VmemError(Exception):
    """Base of every error of vmem."""


class ConfigError(VmemError, ValueError):
    """A value that cannot be: the message says which, what it was, and what is accepted."""


class FileError(VmemError):
    """EIO of a guest's file: the disk failed, or the guest had no page. Says which file, what and where."""


class TraceError(VmemError, ValueError):
    """A trace that cannot be read.

    `path` is the file, `offset` the byte offset in its uncompressed contents; either may be None.
    """

    def __init__(
        self, message: str, path: str | PathLike[str] | None = None, offset: int | None = None
    ) -> None:
        self.path = None if path is None else fspath(path)
        self.offset = offset
        where = "" if self.path is None else f"{self.path}: "
        at = "" if offset is None else f" (at byte {offset})"
        super().__init__(f"{where}{message}{at}")


class InvariantError(VmemError):
    """vmem's own state is inconsistent: a bug of vmem."""


class OutOfMemory(VmemError, MemoryError):
    """The simulated machine, or the one that simulates it, has no memory left for what was asked."""


class SegmentationFault(VmemError):
    """The guest kernel answered an access with SIGSEGV. `address` is guest-virtual, `access` is load, store
    or fetch.
    """

    def __init__(self, address: int, access: str) -> None:
        self.address = address
        self.access = access
        super().__init__(f"segmentation fault: {access} at {address:#x}")
