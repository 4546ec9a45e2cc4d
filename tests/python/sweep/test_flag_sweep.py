"""Every legal combination of page-table and control-register bits in one dimension, against the manual.

Legal is as in the sweeps that real processors are tested with: no access is both store and fetch, at most one
reserved bit is set, bit 13 only in a large leaf. SMEP, SMAP and protection keys multiply the combinations;
they have sweeps of their own, without reserved bits, which end a walk before they matter.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from .manual import ACCESS_RIGHTS, E_PK, E_RSVD, PROTECTION_KEYS, Access, Control, Rule, Words
from .paths import PDE_FLAGS, PTE_FLAGS, Paths, lower_entries, rights_of_every_level

BOOLS = (False, True)
PAIRS = list(itertools.product(BOOLS, BOOLS))
SUPERVISOR_MODE_SWITCHES = list(itertools.product(BOOLS, repeat=3))[1:]  # SMEP, SMAP, AC
ACCESSES = [Access(user, write, fetch) for user in BOOLS for write, fetch in PAIRS if not (write and fetch)]
SUPERVISOR_LOAD = Access(user=False, write=False, fetch=False)


@pytest.fixture(scope="module")
def all_paths() -> Paths:
    return lower_entries(reserved=True)


@pytest.fixture(scope="module")
def legal_paths() -> Paths:
    return lower_entries(reserved=False)


def name(access: Access) -> str:
    kind = "fetch" if access.fetch else "store" if access.write else "load"
    return f"{'user' if access.user else 'supervisor'} {kind}"


def differences(paths: Paths, access: Access, control: Control) -> list[str]:
    return paths.differences(paths.access_all(paths.mmu(control), access), paths.expect(access, control))


def test_number_of_combinations(all_paths: Paths, legal_paths: Paths) -> None:
    assert (len(PTE_FLAGS), len(PDE_FLAGS), len(ACCESSES)) == (64, 128, 6)
    assert len(legal_paths) == 64 * 128
    assert len(all_paths) == 64 * 64 * 5 + 64 * 64 * 6
    assert len(all_paths) * len(ACCESSES) * 2**3 == 2_162_688  # WP, NXE, twice


@pytest.mark.parametrize("access", ACCESSES, ids=name)
@pytest.mark.parametrize(("wp", "nxe"), PAIRS)
def test_every_pair_of_entries(all_paths: Paths, access: Access, wp: bool, nxe: bool) -> None:
    control = Control(wp=wp, nxe=nxe)
    assert differences(all_paths, access, control) == []
    expected = all_paths.expect(access, control)
    reserved = ~expected.reached & (expected.error_code & E_RSVD != 0)
    # Worth it only if all that can come of it does.
    assert np.count_nonzero(reserved) > len(all_paths) // 8
    assert np.count_nonzero(expected.reached) > len(all_paths) // 128


@pytest.mark.parametrize("access", ACCESSES, ids=name)
@pytest.mark.parametrize(("wp", "nxe"), PAIRS)
def test_every_pair_of_entries_twice(all_paths: Paths, access: Access, wp: bool, nxe: bool) -> None:
    """After a supervisor load of the same page: what that left in the TLB must not show."""
    control = Control(wp=wp, nxe=nxe)
    mmu = all_paths.mmu(control)
    first = all_paths.expect(SUPERVISOR_LOAD, control)
    assert all_paths.differences(all_paths.access_all(mmu, SUPERVISOR_LOAD), first) == []
    second = all_paths.expect(access, control, before=first)
    assert all_paths.differences(all_paths.access_all(mmu, access), second) == []


@pytest.mark.parametrize("access", ACCESSES, ids=name)
@pytest.mark.parametrize(("wp", "nxe"), PAIRS)
@pytest.mark.parametrize(("smep", "smap", "ac"), SUPERVISOR_MODE_SWITCHES)
def test_supervisor_mode_switches(
    legal_paths: Paths, access: Access, wp: bool, nxe: bool, smep: bool, smap: bool, ac: bool
) -> None:
    assert differences(legal_paths, access, Control(wp=wp, nxe=nxe, smep=smep, smap=smap, ac=ac)) == []


KEY, OTHER_KEY = 5, 9
OF_KEY = [(True, rights << 2 * KEY) for rights in range(4)]  # PKE, PKRU
OF_OTHER_KEYS = [(True, 0xFFFF_FFFF & ~(3 << 2 * KEY)), (False, 0xFFFF_FFFF)]


@pytest.fixture(scope="module")
def keyed_paths() -> list[Paths]:
    """The key of the entry that is no leaf differs: it must not count."""
    return [
        lower_entries(reserved=False, pde_key=KEY, pte_key=OTHER_KEY),
        lower_entries(reserved=False, pde_key=OTHER_KEY, pte_key=KEY),
    ]


@pytest.mark.parametrize("access", ACCESSES, ids=name)
@pytest.mark.parametrize("wp", BOOLS)
@pytest.mark.parametrize(("pke", "pkru"), OF_KEY + OF_OTHER_KEYS)
def test_protection_keys(keyed_paths: list[Paths], access: Access, wp: bool, pke: bool, pkru: int) -> None:
    rights = (pkru >> 2 * KEY | pkru >> 2 * OTHER_KEY) & 3
    denying = 3 if access.write and (access.user or wp) else 1
    denies = pke and not access.fetch and rights & denying != 0
    control = Control(wp=wp, pke=pke, pkru=pkru)
    for paths in keyed_paths:
        assert differences(paths, access, control) == []
        assert bool(np.any(faults(paths, access, control) & E_PK)) == denies


def faults(paths: Paths, access: Access, control: Control) -> Words:
    """The expected error codes of the paths that fault."""
    expected = paths.expect(access, control)
    return expected.error_code[~expected.reached]


@pytest.mark.parametrize("access", ACCESSES, ids=name)
@pytest.mark.parametrize("leaf_level", [1, 2, 3])
@pytest.mark.parametrize("levels", [4, 5])
def test_rights_accumulate_over_every_level(levels: int, leaf_level: int, access: Access) -> None:
    paths = rights_of_every_level(levels, leaf_level)
    assert len(paths) == 8 ** (levels - leaf_level + 1)
    for wp, nxe in PAIRS:
        assert differences(paths, access, Control(wp=wp, nxe=nxe)) == []


def without(rules: dict[str, Rule], control: Control) -> list[object]:
    return [pytest.param(rules, rule, control, id=rule) for rule in rules]


@pytest.mark.parametrize(
    ("rules", "rule", "control"),
    [
        *without(ACCESS_RIGHTS, Control(smep=True, smap=True)),
        *without(PROTECTION_KEYS, Control(pke=True, pkru=0b01))[:1],
        *without(PROTECTION_KEYS, Control(pke=True, pkru=0b10))[1:],
    ],
)
def test_every_rule_is_needed(
    legal_paths: Paths, rules: dict[str, Rule], rule: str, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any one of the manual's rules the sweep differs: it does compare."""
    monkeypatch.delitem(rules, rule)
    assert any(differences(legal_paths, access, control) for access in ACCESSES)
