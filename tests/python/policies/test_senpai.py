"""Senpai's rule: by hand, and its curve: flat down to the working set, the cliff, where the rule settles.

Senpai's README shows such a curve of a kernel build (3:58 at 800 MB, 4:03 at 400 MB, over 9 minutes at 300
MB, 4:09 under Senpai at 340 MB). Here a program has 200 MiB and uses 80 of them.
"""

from __future__ import annotations

import pytest
from made_up import MIB, host, vm

import vmem
from vmem.policies import Controller, Limits, Policy, policy

COMPUTE = 20e-6
ACTIVE = 80


def ticks(stalls: list[int], **parameters: float) -> list[float]:
    """Targets in MiB, tick by tick: a guest of 1 GiB that uses 500 MiB and stalls so many microseconds."""
    rule, total, found = policy("psi", **parameters), 0, []
    for stall in [0, *stalls]:
        total += stall
        view = vm("a", 1024, 1024, 524, minimum=200 * MIB, stalled=total)
        found.append(rule.decide(host(4096, 2048), [view])["a"] / MIB)
    return found


def near(size: float) -> object:
    """Limits are whole pages, rounded down."""
    return pytest.approx(size, abs=1 / 128)


def test_without_pressure_one_percent_every_six_ticks_after_the_first_seven() -> None:
    course = ticks([0] * 19)
    assert course[:7] == [near(550)] * 7
    assert course[7:13] == [near(550 * 0.99)] * 6
    assert course[13:19] == [near(550 * 0.99**2)] * 6


def test_the_nearer_to_the_aim_the_smaller_the_step() -> None:
    # 5,000 of 10,000 us: (2 / 10)^2 of 1 %.
    assert ticks([5000, 0, 0, 0, 0, 0, 0])[-1] == near(550 * (1 - 0.04 * 0.01))


def test_pressure_gives_back_at_once_by_its_square() -> None:
    # 40,000 us: (4 / 20)^2 = 4 %; 400,000: doubled, and no more than the VM has.
    assert ticks([40_000])[-1] == near(550 * 1.04)
    assert ticks([400_000])[-1] == 1024
    assert ticks([10_000, 1])[1:] == [near(550), near(550 * (1 + 0.0025 * 1.0001**2))]


def test_limits() -> None:
    assert ticks([0] * 2000)[-1] == 200
    assert ticks([0] * 2000, min_size=300 * MIB)[-1] == 300
    assert ticks([400_000], max_size=600 * MIB)[-1] == 600


def test_who_reports_no_pressure_is_left_alone() -> None:
    assert policy("psi").decide(host(4096, 2048), [vm("a", 1024, 1024, 500, stalled=None)]) == {}


def run(rule: Policy, settle: str, measured: int) -> tuple[float, float]:
    """Slowdown over `measured` seconds after `settle`, and the mean size of the guest in MiB."""
    machine = vmem.Hypervisor("512MiB")
    guest = machine.create_vm("a", memory="256MiB", swap="256MiB", balloon=True)
    guest.guest.swap_detects_zeros = False
    program = guest.guest.spawn("app").start(
        vmem.workload("demand", curve=[["0s", "200MiB", f"{ACTIVE}MiB"]], compute="20us")
    )
    controller = Controller(machine, rule, "1s", {"a": Limits(40 * MIB)})
    controller.run(settle)
    before, rows = program.references, len(controller.rows)
    controller.run(f"{measured}s")
    sizes = [row.actual for row in controller.rows[rows:]]
    return measured / COMPUTE / (program.references - before), sum(sizes) / len(sizes) / MIB


def test_the_curve_is_flat_then_falls_and_the_rule_settles_before_the_fall() -> None:
    flat = {size: run(policy("static", share=size / 256), "40s", 20)[0] for size in (256, 160, 110)}
    fallen = {size: run(policy("static", share=size / 256), "40s", 10)[0] for size in (80, 60)}
    assert max(flat.values()) < 1.08
    assert 1.5 < fallen[80] < fallen[60]
    slowdown, size = run(policy("psi", min_size=40 * MIB), "10min", 300)
    assert slowdown < 1.05
    assert ACTIVE < size < 2 * ACTIVE
