"""The words of the comparison: registers, an access, what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["load", "store", "fetch"]
KINDS: tuple[Kind, ...] = ("load", "store", "fetch")

P, W, U, PWT, PCD, A, D, PS, G = (1 << bit for bit in range(9))
PAT_SMALL, PAT_LARGE = 1 << 7, 1 << 12
NX = 1 << 63
ADDRESS = 0x000F_FFFF_FFFF_F000

CR0_PE, CR0_ET, CR0_WP, CR0_PG = 1 << 0, 1 << 4, 1 << 16, 1 << 31
CR4_PAE, CR4_PGE, CR4_LA57, CR4_PCIDE = 1 << 5, 1 << 7, 1 << 12, 1 << 17
CR4_SMEP, CR4_SMAP, CR4_PKE = 1 << 20, 1 << 21, 1 << 22
EFER_LME, EFER_LMA, EFER_NXE = 1 << 8, 1 << 10, 1 << 11
LONG_MODE_CR0 = CR0_PE | CR0_ET | CR0_PG
LONG_MODE_EFER = EFER_LME | EFER_LMA


@dataclass(frozen=True)
class Registers:
    cr0: int
    cr3: int
    cr4: int
    efer: int

    @property
    def levels(self) -> int:
        return 5 if self.cr4 & CR4_LA57 else 4


@dataclass(frozen=True)
class Access:
    """One access, and that part of the state which software may change without invalidating anything."""

    va: int
    kind: Kind
    cpl: int
    ac: bool
    pkru: int


class Outcome(NamedTuple):
    """`address` is the physical address reached, or CR2; None if there is none to know."""

    what: Literal["reached", "absent", "page_fault", "general_protection"]
    address: int | None = None
    error_code: int = 0
