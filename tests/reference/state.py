"""The registers that matter, and the context they make (mmu.md, "Modes and state")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from reference.address import ADDRESS_FIELD

CR0_WP = 1 << 16
CR4_PGE, CR4_LA57, CR4_PCIDE, CR4_SMEP, CR4_SMAP, CR4_PKE = (
    1 << 7,
    1 << 12,
    1 << 17,
    1 << 20,
    1 << 21,
    1 << 22,
)
EFER_NXE = 1 << 11
EPTP_AD = 1 << 6


class Context(NamedTuple):
    """What everything cached from a linear address is tagged with. `root` is 0 with one dimension."""

    vpid: int
    pcid: int
    root: int


@dataclass
class State:
    cr0: int = 0
    cr3: int = 0
    cr4: int = 0
    efer: int = 0
    pkru: int = 0
    cpl: int = 0
    ac: bool = False
    vpid: int = 0
    eptp: int = 0
    ncr3: int = 0

    @property
    def levels(self) -> int:
        return 5 if self.cr4 & CR4_LA57 else 4

    @property
    def second_stage(self) -> str:
        """ "none", "ept" or "npt"."""
        return "ept" if self.eptp else "npt" if self.ncr3 else "none"

    @property
    def ept_dirty(self) -> bool:
        """The second stage keeps accessed and dirty bits: EPT with the enable bit, NPT always."""
        return bool(self.ncr3) or bool(self.eptp & EPTP_AD)

    @property
    def root(self) -> int:
        """The second stage's root with bits 11:0 clear, 0 if there is none."""
        return (self.eptp or self.ncr3) & ~0xFFF

    @property
    def pcid(self) -> int:
        return self.cr3 & 0xFFF if self.cr4 & CR4_PCIDE else 0

    @property
    def context(self) -> Context:
        return Context(self.vpid, self.pcid, self.root)

    @property
    def table(self) -> int:
        """Address of the first table of the walk."""
        return self.cr3 & ADDRESS_FIELD
