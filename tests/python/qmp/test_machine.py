"""Stop, cont, system_reset and the ends of a VM; and how often its changes are told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vmem
from vmem.qmp.events import Event, Throttle
from vmem.qmp.simulation import Simulation

from .clients import MIB, Client, one_vm, simulation

SECOND = 10**9


def names(client: Client) -> list[str]:
    return [event["event"] for event in client.happened()]


def with_program(**keys: Any) -> tuple[Simulation, list[Any]]:
    """A VM whose program begins whenever it is booted; its programs, the newest last."""
    host, programs = vmem.Hypervisor("1GiB"), []

    def boot() -> vmem.Vm:
        vm = host.create_vm("vm", memory="64MiB", balloon=True, **keys)
        programs.append(vm.guest.spawn().start(vmem.workload("zipf", size="8MiB")))
        return vm

    return Simulation(host, [boot], epoch=0), programs


def test_one_vm_stops_and_others_go_on() -> None:
    host = simulation(*({"name": name, "memory": "64MiB", "balloon": True} for name in "ab"))
    a, b = (Client(host, machine).negotiate() for machine in host.machines)
    programs = [m.vm.guest.spawn().start(vmem.workload("zipf", size="8MiB")) for m in host.machines]
    a.get("stop")
    a.get("stop")
    assert a.get("query-status") == {"status": "paused", "singlestep": False, "running": False}
    before = [program.references for program in programs]
    for client in (a, b):
        client.get("balloon", value=32 * MIB)
    a.wait(SECOND // 10)
    assert programs[0].references == before[0] and programs[1].references > before[1]
    assert (a.get("query-balloon")["actual"], b.get("query-balloon")["actual"]) == (64 * MIB, 32 * MIB)
    a.get("cont")
    a.get("cont")
    a.wait(SECOND // 10)
    assert programs[0].references > before[0]
    assert a.get("query-balloon") == {"actual": 32 * MIB}
    assert names(a) == ["STOP", "RESUME", "BALLOON_CHANGE"]
    assert names(b) == ["BALLOON_CHANGE"]


@pytest.mark.parametrize("mmu", ["nested", "shadow", "software-tlb"])
def test_reset_boots_afresh(mmu: str) -> None:
    host, programs = with_program(mmu=mmu)
    client = Client(host).negotiate()
    machine = client.machine
    machine.balloon.polling_interval = 3
    client.get("balloon", value=32 * MIB)
    client.wait(2 * SECOND)
    old = machine.vm
    client.get("system_reset")
    assert machine.vm is not old and host.host.vms["vm"] is machine.vm
    assert machine.balloon.polling_interval == 3
    assert client.get("query-balloon") == {"actual": 32 * MIB}
    assert (
        machine.balloon.actual == 64 * MIB
    )  # what the old driver said is what is told until the new one has
    assert machine.vm.resident < old.memory // 2
    client.wait(2 * SECOND)
    assert machine.balloon.actual == 32 * MIB
    assert len(programs) == 2 and programs[1].references > 0
    told = [event.get("data", {}).get("actual") for event in client.happened()]
    assert told == [63 * MIB, 32 * MIB, None, 63 * MIB, 32 * MIB]
    host.host.check()


def test_actual_is_stale_for_as_long_as_the_new_driver_is_silent() -> None:
    """As in QEMU: a driver that has nothing to do after a reset does not say so."""
    client = Client(one_vm()).negotiate()
    client.get("balloon", value=32 * MIB)
    client.wait(SECOND)
    client.get("stop")
    client.get("balloon", value=64 * MIB)
    client.get("system_reset")
    assert client.get("query-status") == {"status": "prelaunch", "singlestep": False, "running": False}
    client.get("cont")
    client.wait(SECOND)
    assert client.get("query-balloon") == {"actual": 32 * MIB}
    assert client.machine.balloon.actual == 64 * MIB


def test_a_reset_for_which_there_is_no_memory() -> None:
    host, is_short = vmem.Hypervisor("64MiB"), False

    def boot() -> vmem.Vm:
        if is_short:
            raise vmem.OutOfMemory("no memory")
        return host.create_vm("vm", memory="32MiB", balloon=True)

    client = Client(Simulation(host, [boot], epoch=0)).negotiate()
    client.get("balloon", value=30 * MIB)
    client.wait(SECOND)
    is_short = True
    kind, text = client.error("system_reset")
    assert kind == "GenericError" and "no memory" in text
    assert client.get("query-status")["status"] == "internal-error"
    assert client.error("query-balloon")[0] == "DeviceNotActive"
    assert client.error("cont")[1] == "Resetting the Virtual Machine is required"
    assert client.get("stop") == {} and client.error("system_reset")[0] == "GenericError"
    client.wait(SECOND)
    is_short = False
    client.get("system_reset")
    assert client.get("query-status")["status"] == "prelaunch"
    client.get("cont")
    client.wait(2 * SECOND)
    assert client.get("query-balloon") == {"actual": 30 * MIB}


@pytest.mark.parametrize("size", ["28MiB", "31MiB", "48MiB"])
def test_a_vm_that_the_host_kills_has_ended(size: str) -> None:
    """In the middle of a slice, by its program or by its kernel; the others go on."""
    host = simulation(*({"name": name, "memory": "64MiB", "balloon": True} for name in "ab"), memory="32MiB")
    a, b = (Client(host, machine).negotiate() for machine in host.machines)
    for _ in range(2):
        a.machine.vm.guest.spawn().start(vmem.workload("stride", size=size, writes=1))
    a.wait(SECOND)
    assert a.machine.ended and a.machine.vm.is_killed and a.events == []
    host.remove(a.machine)
    assert list(host.host.vms) == ["b"]
    b.get("balloon", value=48 * MIB)
    b.wait(SECOND)
    assert b.get("query-balloon") == {"actual": 48 * MIB}


def test_running_out_of_memory_is_an_error_unless_a_vm_was_killed_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A guest's kernel may have been at work, not a program; here the host says so itself."""
    host = simulation({"name": "a", "memory": "64MiB"}, memory="32MiB")
    run = host.host.run

    def fail(nanoseconds: int) -> None:
        run(nanoseconds)
        raise vmem.OutOfMemory("the guest kernel touched guest-physical 0x1000")

    monkeypatch.setattr(host.host, "run", fail)
    with pytest.raises(vmem.OutOfMemory):
        host.advance(SECOND)
    host.machines[0].vm.guest.spawn().start(vmem.workload("stride", size="48MiB", writes=1))
    host.advance(SECOND)
    assert host.machines[0].ended


def test_time_passes_with_and_without_programs() -> None:
    host, programs = with_program()
    host.advance(SECOND // 100)
    assert host.host.now >= SECOND // 100 and programs[0].references > 0
    empty = one_vm()
    empty.advance(3 * SECOND)
    assert empty.host.now == 3 * SECOND


TIMES = st.lists(st.integers(0, 3 * SECOND), max_size=30).map(sorted)


@given(TIMES)
def test_at_most_one_event_a_second_and_the_last_is_told(times: list[int]) -> None:
    throttle, told = Throttle(), []

    def look(now: int) -> None:
        while throttle.deadline is not None and throttle.deadline <= now:
            at = throttle.deadline
            told.extend((at, event) for event in throttle.due(at))

    for number, now in enumerate(times):
        look(now)
        event = Event("X", now, {"number": number})
        told.extend((now, one) for one in throttle.offer(event, now))
    look(10 * SECOND)
    assert throttle.deadline is None
    assert all(b - a >= SECOND for (a, _), (b, _) in pairwise(told))
    assert [event.at for _, event in told[-1:]] == times[-1:]
    assert [at for at, _ in told[:1]] == times[:1]
    assert all(0 <= at - event.at <= SECOND for at, event in told)
