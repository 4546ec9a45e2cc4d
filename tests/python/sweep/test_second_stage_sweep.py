"""Every combination of rights, memory types and reserved bits in the entries of a second stage, for data and
for tables of the guest: which accesses arrive, which exit, with which qualification, and which flags are set.
"""

from __future__ import annotations

import itertools

import pytest

from .paths import subsets
from .second_stage_manual import (
    BEYOND_MAXPHYADDR,
    EPT_A,
    EPT_D,
    EPT_LEAF,
    EPT_W,
    MAXPHYADDR,
    NX,
    PS,
    A,
    D,
    Ept,
    Npt,
    P,
    R,
    U,
    W,
    X,
    below_page,
)
from .second_stage_paths import Kind, SecondStagePaths, Stage, Target

KINDS: tuple[Kind, ...] = ("load", "store", "fetch")
LEAF_LEVELS = (1, 2, 3)
STAGES: list[Stage] = [Ept(ad, xo) for ad, xo in itertools.product((False, True), repeat=2)] + [Npt()]
IGNORED = 1 << 57


def oddities(level: int) -> list[int]:
    """Nothing, or a bit that is reserved, or one that is ignored."""
    if level == 1:
        return [0, 1 << 51, 1 << MAXPHYADDR, IGNORED]
    return [0, 1 << 51, 1 << 12, 1 << below_page(level).bit_length() - 1]


def ept_leaves(level: int) -> list[int]:
    rights = subsets((R, EPT_W, X))
    leaf = EPT_LEAF if level > 1 else 0
    return [
        right | memory_type << 3 | odd | used | leaf
        for right in rights
        for memory_type in range(8)
        for odd in oddities(level)
        for used in (0, EPT_A | EPT_D)
    ]


def ept_uppers(level: int) -> list[int]:
    """Entries that name tables. Bit 7 marks a leaf where there can be one."""
    odd = [1 << 51, 1 << 3, 1 << 6, IGNORED | EPT_A, *([EPT_LEAF] if level > 3 else [])]
    return subsets((R, EPT_W, X)) + [R | EPT_W | X | bits for bits in odd]


def npt_leaves(level: int) -> list[int]:
    leaf = PS if level > 1 else 0
    return [
        rights | odd | used | leaf
        for rights in subsets((P, W, U, NX))
        for odd in oddities(level)
        for used in (0, A | D)
    ]


def npt_uppers(level: int) -> list[int]:
    odd = [1 << 51, IGNORED | A, 1 << 8, *([PS] if level > 3 else [])]
    return subsets((P, W, U, NX)) + [P | W | U | bits for bits in odd]


def paths(stage: Stage, leaf_level: int, target: Target) -> SecondStagePaths:
    uppers, leaves = (ept_uppers, ept_leaves) if isinstance(stage, Ept) else (npt_uppers, npt_leaves)
    return SecondStagePaths(leaf_level, target, uppers(leaf_level + 1), leaves(leaf_level), stage)


@pytest.mark.parametrize("leaf_level", LEAF_LEVELS)
@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_data(stage: Stage, leaf_level: int) -> None:
    tested = paths(stage, leaf_level, "data")
    for kind in KINDS:
        assert tested.differences(kind)[:5] == []


# The guest's last entry: used or not, so that the walker must set a flag in it or need not.
GUEST_FLAGS: list[tuple[Kind, int]] = [
    ("load", 0),
    ("load", A),
    ("store", 0),
    ("store", A),
    ("store", A | D),
    ("fetch", 0),
]


@pytest.mark.parametrize("leaf_level", LEAF_LEVELS)
@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_guest_table(stage: Stage, leaf_level: int) -> None:
    tested = paths(stage, leaf_level, "table")
    for kind, flags in GUEST_FLAGS:
        assert tested.differences(kind, flags)[:5] == []


@pytest.mark.parametrize("target", ["data", "table"])
@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_all_that_can_be_reported_is_met(stage: Stage, target: Target) -> None:
    tested = paths(stage, 1, target)
    outcomes = {
        tested.expect(u, k, kind, P | W | U)[0][:2]
        for kind in KINDS
        for u in range(len(tested.uppers))
        for k in range(len(tested.leaves))
    }
    faults = {(what, code) for what, code in outcomes if what != "reached"}
    assert len(faults) < len(outcomes)
    if isinstance(stage, Npt):
        assert faults == {("nested_page_fault", code) for code in npt_codes(target)}
    else:
        violations = {("ept_violation", code) for code in ept_qualifications(stage, target)}
        assert faults == violations | {("ept_misconfiguration", 0)}


def npt_codes(target: Target) -> set[int]:
    """User, write for tables; of what is not present, not permitted, reserved."""
    where, accesses = (1 << 32, (0, 2, 16)) if target == "data" else (1 << 33, (2,))
    return {where | 4 | access | why for access in accesses for why in (0, 1, 9)}


def ept_qualifications(stage: Ept, target: Target) -> set[int]:
    """Rights that are legal, those missing that were needed, and who needed them."""
    legal = [0b000, 0b001, 0b011, 0b101, 0b111, *([0b100] if stage.execute_only else [])]

    def violations(reported: int, needed: int) -> set[int]:
        return {1 << 7 | reported | rights << 3 for rights in legal if needed & ~rights}

    if target == "data":
        return {1 << 8 | code for needed in (1, 2, 4) for code in violations(needed, needed)}
    if stage.accessed_dirty:
        return violations(0b011, 0b011)
    flag_not_writable = {1 << 7 | 0b010 | rights << 3 for rights in (0b001, 0b101)}
    return violations(0b001, 0b001) | flag_not_writable


@pytest.mark.parametrize("target", ["data", "table"])
@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (Ept(False, False), Ept(True, False)),
        (Ept(True, False), Ept(False, False)),
        (Ept(False, False), Ept(False, True)),
        (Ept(True, True), Ept(True, False)),
    ],
    ids=str,
)
def test_another_processor_shows(target: Target, real: Ept, expected: Ept) -> None:
    """One that has or has not accessed and dirty flags, or execute-only pages: the sweep does compare."""
    tested = paths(real, 1, target)
    assert tested.differences("load", 0) == []
    tested.stage = expected
    assert len(tested.differences("load", 0)) > 10


def test_reserved_bits_are_where_the_sweep_looks() -> None:
    assert BEYOND_MAXPHYADDR >> MAXPHYADDR & 1 and BEYOND_MAXPHYADDR >> 51 & 1
    assert not IGNORED & BEYOND_MAXPHYADDR
    for level in (2, 3):
        assert all(odd & (BEYOND_MAXPHYADDR | below_page(level)) for odd in oddities(level)[1:])


def test_number_of_combinations() -> None:
    of_ept = sum(len(ept_uppers(level + 1)) * len(ept_leaves(level)) for level in LEAF_LEVELS)
    of_npt = sum(len(npt_uppers(level + 1)) * len(npt_leaves(level)) for level in LEAF_LEVELS)
    accesses = len(KINDS) + len(GUEST_FLAGS)
    assert (of_ept * 4 + of_npt) * accesses == 748_800
