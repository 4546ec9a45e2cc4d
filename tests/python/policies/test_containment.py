"""A policy that does what it should not is reported, and the VMs go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import vmem
from vmem.policies import Controller, HostView, Limits, VmView

MIB = 1 << 20


class Answers:
    """Returns, or does, whatever it was given."""

    def __init__(self, answer: Callable[[HostView, Sequence[VmView]], Any]) -> None:
        self._answer = answer
        self.asked = 0

    def decide(self, host: HostView, vms: Sequence[VmView]) -> Any:
        self.asked += 1
        return self._answer(host, vms)


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Stranger(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def controlled(answer: Callable[[HostView, Sequence[VmView]], Any]) -> Controller:
    host = vmem.Hypervisor("256MiB")
    for name in ("a", "b"):
        host.create_vm(name, memory="64MiB", balloon=True)
    host.create_vm("bare", memory="32MiB", mmu="native")
    return Controller(host, Answers(answer), "10s", {"a": Limits(32 * MIB)})


def raises(error: Exception) -> Callable[[HostView, Sequence[VmView]], Any]:
    def answer(host: HostView, vms: Sequence[VmView]) -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (raises(ZeroDivisionError("division by\nzero")), "it raised ZeroDivisionError: division by zero"),
        (raises(Stranger()), "it raised Stranger: its message cannot be shown"),
        (raises(vmem.ConfigError("x" * 10_000)), "it raised ConfigError: xxx"),
        (lambda host, vms: None, "it returned None; accepted is a mapping"),
        (lambda host, vms: [("a", 1)], "it returned [('a', 1)]; accepted is a mapping"),
        (lambda host, vms: {"c": 40 * MIB}, "a target for 'c'; accepted are VMs that it was shown"),
        (lambda host, vms: {"bare": 40 * MIB}, "a target for 'bare'"),
        (lambda host, vms: {7: 40 * MIB}, "a target for 7"),
        (lambda host, vms: {Unshowable(): 1}, "a target for a Unshowable that cannot be shown"),
        (lambda host, vms: {"a": float("nan")}, "target nan; accepted is a number of bytes"),
        (lambda host, vms: {"a": float("inf")}, "target inf; accepted is a number of bytes"),
        (lambda host, vms: {"a": "40MiB"}, "target '40MiB'; accepted is a number of bytes"),
        (lambda host, vms: {"a": True}, "target True; accepted is a number of bytes"),
        (lambda host, vms: {"a": Unshowable()}, "target a Unshowable that cannot be shown"),
        (lambda host, vms: vms[0].stats.clear(), "it raised AttributeError"),
        (lambda host, vms: setattr(vms[0], "target", 0), "it raised FrozenInstanceError"),
    ],
)
def test_nonsense_changes_nothing_and_is_told(
    answer: Callable[[HostView, Sequence[VmView]], Any], said: str
) -> None:
    controller = controlled(answer)
    controller.run("35s")
    assert [incident.at // 10**9 for incident in controller.incidents] == [10, 20, 30]
    assert all(said in incident.message for incident in controller.incidents)
    assert all(len(incident.message) < 300 for incident in controller.incidents)
    assert [row.wanted for row in controller.rows] == [None] * 6
    assert {vm.balloon.target for vm in controller.host if vm.balloon} == {64 * MIB}
    controller.host.check()


def test_targets_beyond_limits_are_brought_within() -> None:
    controller = controlled(lambda host, vms: {"a": 1, "b": 10**30})
    controller.run("15s")
    a, b = controller.host.vms["a"].balloon, controller.host.vms["b"].balloon
    assert a is not None and a.target == a.actual == 32 * MIB
    assert b is not None and b.target == 64 * MIB
    (low, high) = controller.incidents
    assert (low.subject, high.subject) == ("a", "b")
    assert "made 33,554,432: accepted is from 33,554,432 to 67,108,864 bytes" in low.message
    assert "made 67,108,864" in high.message


def test_incidents_are_events_too() -> None:
    controller = controlled(lambda host, vms: {"a": 1, "c": 2})
    controller.run("25s")
    events = [event for event in controller.host.events() if event.kind == "policy_incident"]
    assert [(event.at, event.subject) for event in events] == [
        (found.at, found.subject) for found in controller.incidents
    ]
    assert [event.subject for event in events] == ["a", "host"] * 2
    assert [event.numbers for event in events] == [{"incident": i} for i in range(4)]


def test_what_is_good_in_an_answer_is_done() -> None:
    controller = controlled(lambda host, vms: {"nobody": 1, "a": 40 * MIB + 0.5, "b": float("nan")})
    controller.run("15s")
    assert [(row.vm, row.wanted, row.target) for row in controller.rows] == [
        ("a", 40 * MIB, 64 * MIB),
        ("b", None, 64 * MIB),
    ]
    assert {incident.subject for incident in controller.incidents} == {"host", "b"}


def test_ctrl_c_is_not_contained() -> None:
    controller = controlled(raises(KeyboardInterrupt()))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        controller.run("15s")


def test_it_is_asked_at_its_times_with_what_the_device_tells() -> None:
    seen: list[tuple[HostView, tuple[VmView, ...]]] = []
    controller = controlled(lambda host, vms: seen.append((host, tuple(vms))) or {})
    controller.run("10s")
    controller.run("25s")
    assert [host.now // 10**9 for host, _ in seen] == [10, 20, 30]
    assert controller.host.now == 35 * 10**9
    host, vms = seen[-1]
    assert host.free == controller.host.meminfo()["free"] and host.memory == 256 * MIB
    assert [vm.name for vm in vms] == ["a", "b"]
    vm = vms[0]
    assert vm.stats["stat-total-memory"] == controller.host.vms["a"].guest.meminfo()["MemTotal"]
    assert "stat-htlb-pgfail" not in vm.stats
    assert vm.age is not None and 0 <= vm.age <= 2 * 10**9
    assert (vm.minimum, vms[1].minimum) == (32 * MIB, 16 * MIB)
    assert [view.age for _, views in seen for view in views] == [vm.age] * 6


def test_a_vm_that_stands_still_shows_its_age() -> None:
    ages: list[int | None] = []
    controller = controlled(lambda host, vms: ages.append(vms[0].age) or {})
    controller.run("25s")
    controller.host.vms["a"].paused = True
    controller.run("20s")
    assert ages[1] is not None and ages[1] <= 2 * 10**9
    assert ages[-1] is not None and ages[-1] > 10 * 10**9


def test_bad_intervals() -> None:
    host = vmem.Hypervisor("64MiB")
    for wrong in ("0s", "1ns", "soon", 10**16):
        with pytest.raises(vmem.ConfigError, match="interval of a policy"):
            Controller(host, Answers(lambda host, vms: {}), wrong)
