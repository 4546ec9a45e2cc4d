"""MOM's balloon rules: steps, dead band, growth back, its blind spot; by hand and on a simulated host."""

from __future__ import annotations

import pytest
from made_up import MIB, host, vm

import vmem
from vmem.policies import Controller, Limits, policy
from vmem.policies.mom import MomRules


def first(host_free: float, **guest: int) -> float | None:
    """What MOM makes of one guest the first time, in MiB: averages are then the values themselves."""
    view = vm("a", **{"memory": 4096, "actual": 4096, "free": 2048, **guest})
    answer = policy("mom").decide(host(10_000, int(10_000 * host_free)), [view])
    return answer["a"] / MIB if "a" in answer else None


@pytest.mark.parametrize(
    ("free", "guest", "expected"),
    [
        (0.10, {}, 4096 * 0.95),  # no faster than 5 %
        (0.10, {"free": 500}, 3596 + 0.10 * 4096),  # used, and 20 % scaled by 10 of 20
        (0.10, {"free": 409}, None),  # 3,687 + 409.6: bigger than it is
        (0.10, {"free": 418}, None),  # less than a quarter of a percent
        (0.10, {"free": 422}, 4096 - 422 + 409.6),
        (0.05, {"free": 2}, None),  # critical: wants 0.05 - 0.05 = nothing free: 2 MiB is below the dead band
        (0.02, {"free": 2}, 4094 - 0.03 * 4096),  # is to swap
        (0.10, {"actual": 1050, "free": 900}, 1024),  # never below its minimum
        (0.20, {}, None),  # no pressure, and it has all
        (0.50, {"actual": 2048, "free": 1500}, 2048 * 1.05),
        (0.50, {"actual": 2048, "free": 100}, 1948 + 0.2 * 2048),  # as much as it is short of
        (0.50, {"actual": 4090, "free": 2000}, None),  # 6 MiB are not worth it
    ],
)
def test_one_decision(free: float, guest: dict[str, int], expected: float | None) -> None:
    assert first(free, **guest) == (None if expected is None else pytest.approx(expected, abs=1e-6))


def test_averages_are_over_ten_samples_and_rules_run_every_second_time() -> None:
    mom = policy("mom")
    sizes = []
    for i in range(30):
        answer = mom.decide(host(10_000, 1000, i * 5 * 10**9), [vm("a", 4096, 4096, 2000 if i < 10 else 0)])
        sizes.append(answer.get("a", 0) / MIB)
    assert [i for i, size in enumerate(sizes) if size] == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    assert sizes[16] == pytest.approx(4096 - 2000 * 3 / 10 + 0.10 * 4096)


def test_a_guest_that_tells_nothing_is_left_alone() -> None:
    answer = policy("mom").decide(host(1000, 10), [vm("mute", 4096, 4096, None), vm("a", 4096, 4096, 2048)])
    assert set(answer) == {"a"}


def controlled(cache: str | None) -> tuple[Controller, vmem.Vm, vmem.HostProcess]:
    """One guest of 512 MiB that uses a little and, maybe, keeps a file in its page cache."""
    machine = vmem.Hypervisor("768MiB", swap="256MiB")
    guest = machine.create_vm("a", memory="512MiB", balloon=True, disk="512MiB")
    process = guest.guest.spawn()
    area = process.mmap("64MiB")
    process.access(*vmem.batch(range(area.start, area.end, 4096), 1))
    if cache:
        file = guest.guest.create_file("data", cache)
        file.read(0, cache)
    controller = Controller(machine, MomRules().start(), MomRules.interval, {"a": Limits(64 * MIB)})
    return controller, guest, machine.create_process("hog")


def course(controller: Controller) -> list[tuple[int, int]]:
    return [(row.target, row.wanted) for row in controller.rows if row.wanted is not None]


def test_on_a_host_it_shrinks_in_steps_and_grows_back() -> None:
    controller, guest, hog = controlled(None)
    hog.resize(controller.host.meminfo()["free"] - int(0.1 * 768 * MIB))
    controller.run("5min")
    shrunk = course(controller)
    assert len(shrunk) > 10
    assert all(0.949 * target <= wanted < target for target, wanted in shrunk)
    assert guest.balloon is not None
    low = guest.balloon.actual
    hog.resize(0)
    controller.run("10min")
    grown = course(controller)[len(shrunk) :]
    assert grown and all(target < wanted <= 1.051 * target for target, wanted in grown[2:])
    assert guest.balloon.actual == 512 * MIB > 2 * low
    assert not controller.incidents


def test_its_blind_spot_is_the_page_cache() -> None:
    """A guest whose memory holds clean file pages gives as little as one that needs its memory."""
    kept = {}
    for cache in (None, "256MiB"):
        controller, guest, hog = controlled(cache)
        hog.resize(controller.host.meminfo()["free"] - int(0.1 * 768 * MIB))
        controller.run("10min")
        assert guest.balloon is not None
        kept[cache] = guest.balloon.actual / MIB
    assert kept["256MiB"] > kept[None] + 200
