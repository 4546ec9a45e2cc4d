"""Mistakes on purpose, one for each thing that the comparison is meant to see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .layout import TABLES, Words
from .machine_state import (
    CR0_WP,
    CR4_LA57,
    CR4_PKE,
    CR4_SMAP,
    CR4_SMEP,
    EFER_NXE,
    A,
    Access,
    D,
    Kind,
    Outcome,
    P,
    Registers,
)
from .vmem_mmu import VmemMmu

Input = tuple[Registers, Access]


@dataclass(frozen=True)
class Sabotage:
    """`before` changes what the MMU under test is asked, `after` what it answers or leaves in memory."""

    before: Callable[[Registers, Access], Input] = lambda registers, access: (registers, access)
    after: Callable[[Outcome, dict[int, Words]], Outcome] = lambda outcome, windows: outcome


class SabotagedMmu(VmemMmu):
    def __init__(self, sabotage: Sabotage) -> None:
        super().__init__()
        self._sabotage = sabotage

    def access(self, registers: Registers, access: Access, marker: int, cached: bool) -> Outcome:
        outcome = super().access(*self._sabotage.before(registers, access), marker, cached)
        return self._sabotage.after(outcome, self.windows)


def in_cr0(bit: int) -> Sabotage:
    return Sabotage(lambda registers, access: (replace(registers, cr0=registers.cr0 ^ bit), access))


def in_cr4(bit: int) -> Sabotage:
    return Sabotage(lambda registers, access: (replace(registers, cr4=registers.cr4 ^ bit), access))


def in_efer(bit: int) -> Sabotage:
    return Sabotage(lambda registers, access: (replace(registers, efer=registers.efer ^ bit), access))


def in_access(change: Callable[[Access], Access]) -> Sabotage:
    return Sabotage(lambda registers, access: (registers, change(access)))


def in_kind(kind: Kind, wrong: Kind) -> Sabotage:
    return in_access(lambda access: replace(access, kind=wrong) if access.kind == kind else access)


def in_error_code(bit: int) -> Sabotage:
    def flip(outcome: Outcome, _windows: dict[int, Words]) -> Outcome:
        wrong = outcome._replace(error_code=outcome.error_code ^ bit)
        return wrong if outcome.what == "page_fault" else outcome

    return Sabotage(after=flip)


def in_address(what: str) -> Sabotage:
    def flip(outcome: Outcome, _windows: dict[int, Words]) -> Outcome:
        if outcome.what != what or outcome.address is None:
            return outcome
        return outcome._replace(address=outcome.address ^ 8)

    return Sabotage(after=flip)


def outcome_instead_of(what: str, outcome: Outcome) -> Sabotage:
    return Sabotage(after=lambda answer, _windows: outcome if answer.what == what else answer)


def in_tables(bit: int, when_set: bool) -> Sabotage:
    """Sets or clears a bit of the first entry that allows it."""

    def change(outcome: Outcome, windows: dict[int, Words]) -> Outcome:
        for base in TABLES:
            words = windows[base]
            for index in np.flatnonzero((words & P != 0) & ((words & bit != 0) == when_set))[:1]:
                words[index] ^= np.uint64(bit)
                return outcome
        return outcome

    return Sabotage(after=change)


SABOTAGES = {
    "cr0.wp": in_cr0(CR0_WP),
    "cr4.la57": in_cr4(CR4_LA57),
    "cr4.smep": in_cr4(CR4_SMEP),
    "cr4.smap": in_cr4(CR4_SMAP),
    "cr4.pke": in_cr4(CR4_PKE),
    "efer.nxe": in_efer(EFER_NXE),
    "user for supervisor": in_access(lambda access: replace(access, cpl=3)),
    "supervisor for user": in_access(lambda access: replace(access, cpl=0)),
    "eflags.ac": in_access(lambda access: replace(access, ac=not access.ac)),
    "pkru access-disable": in_access(lambda access: replace(access, pkru=access.pkru ^ 0x5555_5555)),
    "pkru write-disable": in_access(lambda access: replace(access, pkru=access.pkru ^ 0xAAAA_AAAA)),
    "store for load": in_kind("load", "store"),
    "load for fetch": in_kind("fetch", "load"),
    "another page": in_access(lambda access: replace(access, va=access.va ^ 1 << 12)),
    "not canonical": in_access(lambda access: replace(access, va=access.va ^ 1 << 63)),
    **{f"error code bit {bit}": in_error_code(1 << bit) for bit in range(6)},
    "physical address": in_address("reached"),
    "cr2": in_address("page_fault"),
    "no page fault": outcome_instead_of("page_fault", Outcome("reached", 0)),
    "absent for reached": outcome_instead_of("reached", Outcome("absent")),
    "reached for absent": outcome_instead_of("absent", Outcome("reached", 0)),
    "no general protection": outcome_instead_of("general_protection", Outcome("page_fault", 0)),
    "accessed set": in_tables(A, when_set=False),
    "accessed cleared": in_tables(A, when_set=True),
    "dirty set": in_tables(D, when_set=False),
    "dirty cleared": in_tables(D, when_set=True),
}
