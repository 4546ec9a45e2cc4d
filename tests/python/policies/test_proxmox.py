"""Proxmox VE's rules: 100 MiB a VM and round, the dead band, who is first; by hand and on a host."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import MIB, host, vm

import vmem
from vmem.policies import Controller, Limits, VmView, policy
from vmem.policies.proxmox import ProxmoxRules


def decide(host_free: int, *vms: VmView, memory: int = 10_000) -> dict[str, float]:
    """In MiB. 80 % of 10,000 MiB are to be used: with 2,000 free there is nothing to do."""
    answer = policy("proxmox").decide(host(memory, host_free), vms)
    return {name: size / MIB for name, size in answer.items()}


def pve(name: str, actual: int, free: int | None, **other: Any) -> VmView:
    """2 GiB, at least 1 GiB."""
    return vm(name, 2048, actual, free, minimum=1024 * MIB, **other)


def test_at_most_100_mib_of_a_vm_in_a_round() -> None:
    assert decide(500, pve("a", 2048, 1500), pve("b", 2048, 1500)) == {"a": 1948, "b": 1948}
    assert decide(5000, pve("a", 1024, 0), pve("b", 1500, 0)) == {"a": 1124, "b": 1600}


@pytest.mark.parametrize(("free", "acts"), [(2010, False), (1990, False), (2011, True), (1989, True)])
def test_ten_mib_are_not_worth_it(free: int, acts: bool) -> None:
    assert bool(decide(free, pve("a", 1500, 600))) == acts


def test_who_is_comfortable_gives_first_and_gets_last() -> None:
    comfortable, needy = pve("c", 1500, 300), pve("n", 1500, 200)  # a quarter of 1,024 is 256
    assert decide(1900, comfortable, needy) == {"c": 1400}
    assert decide(2100, comfortable, needy) == {"n": 1600}


def test_everybody_gives_if_the_comfortable_cannot() -> None:
    assert decide(1900, pve("c", 1024, 1000), pve("n", 1500, 200)) == {"n": 1400}


def test_a_mute_guest_is_not_comfortable() -> None:
    assert decide(1900, pve("mute", 2000, None), pve("c", 2000, 1000)) == {"c": 1900}


def test_no_shares_or_no_minimum_opts_out() -> None:
    assert decide(500, pve("a", 2048, 1500, shares=0), vm("b", 2048, 2048, 1500, minimum=0)) == {}


def test_shares_divide_what_is_above_the_minima() -> None:
    """1,200 MiB above the minima, 150 to be given: 1:2 makes 350 and 700. b has less than that already."""
    assert decide(1850, pve("a", 1624, 600), pve("b", 1624, 600, shares=2000)) == {"a": 1524}
    # 1,080 - 90: 330 and 660, so that 80 of the 90 come from b.
    assert decide(1910, pve("a", 1364, 600), pve("b", 1764, 600, shares=2000)) == {"a": 1354, "b": 1684}


VMS = st.lists(
    st.tuples(
        st.integers(512, 4096),
        st.floats(0.1, 1),
        st.floats(0, 1),
        st.integers(0, 4000) | st.none(),
        st.integers(0, 4000),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(VMS, st.integers(0, 10_000))
def test_bounds_hold_whatever_the_host_is_like(given: list[Any], free: int) -> None:
    views = []
    for i, (memory, low, at, told, shares) in enumerate(given):
        least = int(memory * low)
        actual = least + int((memory - least) * at)
        views.append(vm(f"vm{i}", memory, actual, told, minimum=least * MIB, shares=shares))
    answer = decide(free, *views)
    goal = 8000 - (10_000 - free)
    if abs(goal) <= 10:
        assert not answer
    for view in views:
        size = answer.get(view.name, view.actual / MIB) * MIB
        assert abs(size - view.actual) <= 100 * MIB
        assert view.minimum <= size <= view.memory
        assert view.shares or view.name not in answer


def test_on_a_host_it_holds_the_goal_at_ten_mib_a_second() -> None:
    machine = vmem.Hypervisor("1GiB", swap="256MiB")
    guest = machine.create_vm("a", memory="768MiB", balloon=True)
    process = guest.guest.spawn()
    area = process.mmap("700MiB")
    process.access(*vmem.batch(range(area.start, area.end, 4096), 1))
    process.exit()
    controller = Controller(machine, ProxmoxRules().start(), ProxmoxRules.interval, {"a": Limits(128 * MIB)})
    hog = machine.create_process("hog", "250MiB")
    controller.run("2min")
    steps = [row.wanted - row.target for row in controller.rows if row.wanted is not None]
    assert steps[0] == -100 * MIB and min(steps) == -100 * MIB
    used = 1 - machine.meminfo()["free"] / machine.meminfo()["total"]
    assert used == pytest.approx(0.80, abs=0.015)
    quiet = len([row for row in controller.rows if row.wanted is not None])
    controller.run("5min")
    assert len([row for row in controller.rows if row.wanted is not None]) == quiet  # the dead band
    hog.exit()
    controller.run("5min")
    assert guest.balloon is not None and guest.balloon.actual == 768 * MIB
