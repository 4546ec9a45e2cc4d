"""ESX's experiment with the idle-memory tax (Waldspurger, OSDI 2002, figure 8), simulated.

Two VMs of 256 MiB with equal shares on about 360 MiB. One uses its memory for a while and then little of it,
the other all the time.
"""

from __future__ import annotations

import pytest

import vmem
from vmem.policies import Controller, Limits
from vmem.policies.esx import EsxRules

MIB = 1 << 20


def experiment(tax: float, idle_active: int, samples: int) -> tuple[Controller, float, float]:
    """Mean sizes of the idle and of the busy VM in MiB, over the last five of fifteen minutes."""
    rules = EsxRules(tax=tax, samples=samples)
    host = vmem.Hypervisor("382MiB", swap="512MiB", reclaim=rules.reclaim())
    idle, busy = (
        host.create_vm(name, memory="256MiB", swap="512MiB", balloon=True) for name in ("idle", "busy")
    )
    for vm in (idle, busy):
        vm.guest.swap_detects_zeros = False
    curve = [["0s", "230MiB", "230MiB"], ["20s", "230MiB", idle_active * MIB]]
    idle.guest.spawn("app").start(vmem.workload("demand", curve=curve, compute="100us"))
    busy.guest.spawn("app").start(
        vmem.workload("uniform", size="244MiB", references=10**9, compute="100us", writes=0.5)
    )
    controller = Controller(host, rules.start(), rules.interval, {vm.name: Limits(32 * MIB) for vm in host})
    controller.run("15min")
    host.check()
    assert not idle.is_killed and not busy.is_killed and not controller.incidents
    late = [row for row in controller.rows if row.time_ns > 600 * 10**9]
    means = (
        sum(row.actual for row in late if row.vm == name) / sum(row.vm == name for row in late) / MIB
        for name in ("idle", "busy")
    )
    return controller, *means


def available(controller: Controller) -> float:
    """MiB that VMs may have in all: what the host's goal of free memory and its tables leave."""
    info = controller.host.meminfo()
    return (info["total"] * 0.94 - info["tables"]) / MIB


def active(host: vmem.Hypervisor) -> list[float]:
    """MiB that each VM touches in 30 s: all of its pages looked at, not a sample."""
    for vm in host:
        vm.sample_activity(10**9)
    host.run("30s")
    return [vm.sampled_activity[0] * 4096 / MIB for vm in host]


def test_without_a_tax_equal_shares_are_halves() -> None:
    controller, idle, busy = experiment(0.0, 0, 100)
    assert idle == pytest.approx(available(controller) / 2, rel=0.03)
    assert busy == pytest.approx(available(controller) / 2, rel=0.03)


def test_with_a_tax_of_three_quarters_memory_moves_to_who_uses_it() -> None:
    controller, idle, busy = experiment(0.75, 0, 100)
    assert busy == pytest.approx(256, rel=0.03)
    assert idle == pytest.approx(available(controller) - 256, rel=0.03)


def test_in_between_it_is_the_equilibrium_of_the_formula() -> None:
    """100 of 230 MiB stay in use, and of the busy VM all but its kernel's: neither has all it wants."""
    controller, idle, busy = experiment(0.75, 100, 1000)
    idle_active, busy_active = active(controller.host)
    assert 100 < idle_active < 110 and 0.85 * busy < busy_active < busy
    # k P_idle - (k - 1) A_idle = k P_busy - (k - 1) A_busy, with k = 1 / (1 - tax) = 4.
    expected = (available(controller) - 0.75 * (busy_active - idle_active)) / 2
    assert idle == pytest.approx(expected, rel=0.03)
    assert busy == pytest.approx(available(controller) - expected, rel=0.03)
