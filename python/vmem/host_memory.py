"""What the host does with the memory behind its guests: swap, sharing, page sizes."""

from __future__ import annotations

import os
from typing import NamedTuple

from vmem import _core, checks
from vmem.errors import ConfigError


class HostPage(NamedTuple):
    """One page that the second stage of a VM maps."""

    gfn: int
    """First guest frame."""
    hfn: int
    """First machine frame."""
    frames: int
    """4 KiB frames: 1, 512 or 262144; a native machine's memory is one page of all of them."""
    writable: bool
    """False: shared, and copied when the guest stores to it."""


class BackedVm:
    """The part of a VM that concerns the memory behind it. A native machine's memory stays as it is."""

    _core: _core.Machine
    _id: int

    @property
    def swapped(self) -> int:
        """Bytes of this VM that lie in the host's swap."""
        return self._core.swapped(self._id)

    @property
    def is_killed(self) -> bool:
        """The host had no memory left and gave this VM up (event `host_out_of_memory`)."""
        return self._core.is_killed(self._id)

    def swap_out(self, address: int) -> bool:
        """Writes the guest frame at a guest-physical address to the host's swap and frees its machine frame.

        It comes back by itself when something needs it, and then costs that vCPU a wait. A large page around
        it is cut first. False: it has no machine frame, the swap is full or absent, or its disk is full.
        """
        return self._core.swap_out(self._id, checks.address(address, "swap_out"))

    def split(self, address: int) -> bool:
        """Cuts the large host page behind a guest-physical address into 4 KiB pages. False: it is not one."""
        return self._core.split(self._id, checks.address(address, "split"))

    def collapse(self, address: int) -> bool:
        """Moves the aligned 2 MiB of guest memory around an address into one large host page.

        False: not all of it is resident in 4 KiB pages that the VM shares with nobody, or the host has no
        such block free.
        """
        return self._core.collapse(self._id, checks.address(address, "collapse"))

    def second_stage(self) -> list[HostPage]:
        """The hypervisor's map from guest to machine frames, ascending."""
        return [HostPage(*page) for page in self._core.second_stage(self._id)]


def swap_directory(directory: str | os.PathLike[str] | None) -> str:
    """The directory of the host's swap file as text; "" is the system's for temporary files."""
    if directory is None:
        return ""
    if not isinstance(directory, str | os.PathLike) or not str(directory):
        raise ConfigError(
            f"swap_dir: {directory!r}; accepted is a directory's path, or None for a temporary one"
        )
    return os.fspath(directory)
