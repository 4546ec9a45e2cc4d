"""What memory cost a VM: every number of `outcome`, by closed forms and by what happened."""

from __future__ import annotations

from typing import Any

import pytest

import vmem
from vmem.outcome import density, percentiles, together
from vmem.report.page import report_html
from vmem.rows import HostRow
from vmem.runner import Result
from vmem.scenario import Scenario
from vmem.timed import TimedRunner

MIB, SECOND = 1 << 20, 10**9


def run(text: str, duration: str = "10s", steps: int = 20) -> tuple[Result, vmem.Hypervisor]:
    runner = TimedRunner(
        Scenario.parse(f'{text}\n[run]\nduration = "{duration}"\nslowdown = false\nsteps = {steps}')
    )
    result = runner.run()
    runner.hypervisor.check()
    return result, runner.hypervisor


def vm(name: str, workload: str, **keys: object) -> str:
    lines = [f"{key} = {value!r}" for key, value in {"name": name, "memory": "64MiB", **keys}.items()]
    return (
        "\n".join(["[[vm]]", *lines, "[[vm.process]]", f"workload = {{ {workload} }}", ""])
        .replace("True", "true")
        .replace("False", "false")
    )


def outcomes(result: Result) -> dict[str, dict[str, Any]]:
    return {found["name"]: found["outcome"] for found in result.summary["vms"]}


def test_percentiles_by_definition() -> None:
    assert percentiles([]) == {"access_p50_ns": 0, "access_p95_ns": 0, "access_p99_ns": 0}
    assert percentiles([{1000: 1}]) == {"access_p50_ns": 1, "access_p95_ns": 1, "access_p99_ns": 1}
    # 100 references: the 50th, the 95th and the 99th of them.
    assert list(percentiles([{1000: 50, 3000: 5}, {2000: 45}]).values()) == [1, 2, 3]
    assert list(percentiles([{1000: 49, 3000: 6}, {2000: 45}]).values()) == [2, 3, 3]
    assert list(percentiles([{1000: 98, 9000: 2}]).values()) == [1, 1, 9]


def test_first_level_hits_cost_what_the_model_says() -> None:
    """One page, once touched: a cycle each, at 1 GHz a nanosecond."""
    host = vmem.Hypervisor("64MiB", ghz=1.0)
    guest = host.create_vm("a", memory="32MiB")
    program = guest.guest.spawn().start(
        vmem.workload("uniform", size="4KiB", references=100_000, compute="1us")
    )
    host.run("1s")
    costs = program.costs
    assert sum(costs.values()) == program.references == 100_000
    assert host.costs["access"] == 1
    found = percentiles([costs])
    assert found["access_p50_ns"] == found["access_p95_ns"] == pytest.approx(1, rel=1 / 64)


def test_every_wait_for_swap_is_one_reference() -> None:
    """Every page is touched, swapped out by the host, and touched again, one reference each."""
    host = vmem.Hypervisor("128MiB", swap="64MiB", swap_read_time="3ms")
    guest = host.create_vm("a", memory="64MiB")
    program = guest.guest.spawn().start(
        vmem.workload("stride", size="8MiB", step=4096, references=4096, compute="1us")
    )
    host.run("1h", references=2048)
    stage = [gfn for gfn, *_ in guest.second_stage()]
    out = sum(guest.swap_out(gfn * 4096) for gfn in stage)
    before = dict(program.costs)
    host.run("1h")
    waited = sum(times for cost, times in program.costs.items() if cost >= 3 * 10**9) - sum(
        times for cost, times in before.items() if cost >= 3 * 10**9
    )
    assert guest.stat()["swapped_out"] == out
    assert waited == 2048 <= guest.counters()["faults.host_swap_in"]  # page tables were swapped, too
    # All waits are in the distribution, whole.
    slow = sum(cost * times for cost, times in program.costs.items() if cost >= 3 * 10**9)
    assert slow / 1000 == pytest.approx(guest.time().waiting, rel=1 / 64)
    assert guest.stat()["swapped_in"] >= 2048


def test_a_burst_takes_what_its_touches_cost() -> None:
    """A growth of 8 MiB: 2,048 first touches and nothing else; the second one is cut short."""
    curve = '[["0s", "4KiB", "0"], ["2s", "8196KiB", "0"], ["4s", "4KiB", "0"]]'
    result, host = run(
        f'[host]\nmemory = "128MiB"\n{vm("a", f"kind = {chr(34)}demand{chr(34)}, curve = {curve}")}'
    )
    found = outcomes(result)["a"]
    assert (found["bursts"], found["bursts_cut_short"]) == (2, 0)
    assert found["burst_bytes"] == 8 * MIB + 4096
    touch = host.costs["guest_page_fault"] + host.costs["exit"] + host.costs["back_page"]
    # Besides faults: walks, page tables, the first burst's one page.
    assert found["burst_longest_ns"] == pytest.approx(2048 * touch / host.ghz, rel=0.1)
    assert found["burst_longest_ns"] < found["burst_ns"] < 1.1 * found["burst_longest_ns"]


def test_a_growth_that_falls_before_it_is_there_is_cut_short() -> None:
    curve = [["0s", "4KiB", "0"], ["1s", "48MiB", "0"], ["1001ms", "4KiB", "0"], ["2s", "1MiB", "0"]]
    host = vmem.Hypervisor("128MiB")
    program = host.create_vm("a", memory="64MiB").guest.spawn().start(vmem.workload("demand", curve=curve))
    host.run("5s")
    bursts = program.bursts
    assert (bursts.done, bursts.cut_short, bursts.size) == (2, 1, MIB)
    assert bursts.longest < bursts.time < 10**9


def test_a_burst_waits_for_the_swap_that_makes_room() -> None:
    """The same growth on a host that has to swap first is slower, by the other VM's memory."""
    curve = '[["0s", "4KiB", "0"], ["3s", "48MiB", "0"]]'
    grows = vm("grows", f'kind = "demand", curve = {curve}')
    other = vm("other", 'kind = "demand", curve = [["0s", "40MiB", "0"]]')
    alone, _ = run(f'[host]\nmemory = "256MiB"\nswap = "128MiB"\n{grows}{other}')
    tight, _ = run(f'[host]\nmemory = "80MiB"\nswap = "128MiB"\n{grows}{other}')
    assert outcomes(alone)["other"]["host_swapped_out"] == 0
    sums = {way: sum(of[f"host_swapped_{way}"] for of in outcomes(tight).values()) for way in ("in", "out")}
    stat = tight.summary["host"]["stat"]
    assert sums == {way: stat[f"swapped_{way}"] for way in ("in", "out")} and sums["out"] > 2000
    assert tight.summary["host"]["outcome"]["host_swapped_out"] == sums["out"]
    assert outcomes(tight)["grows"]["burst_bytes"] == outcomes(alone)["grows"]["burst_bytes"]


def test_time_to_free_is_from_the_target_to_actual() -> None:
    host = vmem.Hypervisor("512MiB")
    guest = host.create_vm("a", memory="256MiB", balloon=True)
    balloon = guest.balloon
    assert balloon is not None
    balloon.watch()
    began = host.now
    balloon.target = "128MiB"
    host.advance("5s")
    changes = balloon.changes()
    assert changes[-1][1] == 128 * MIB
    way = balloon.shrinking
    assert way == (1, 0, 128 * MIB, changes[-1][0] - began, changes[-1][0] - began)
    # 128 requests of 256 pages, each an exit and what its pages cost; nothing of them was backed.
    least = 32768 * host.costs["inflate_page"] / host.ghz
    assert least < way.time < 1.2 * least
    again = host.now
    balloon.target = "192MiB"
    host.advance("5s")
    growing, reached = balloon.growing, balloon.changes()[-1][0]
    assert growing == (1, 0, 64 * MIB, reached - again, reached - again)


def test_a_target_that_cannot_be_reached_is_given_up_with_the_next() -> None:
    host = vmem.Hypervisor("512MiB")
    guest = host.create_vm("a", memory="256MiB", balloon=True)
    assert guest.balloon is not None
    guest.balloon.target = "1MiB"
    host.advance("5s")
    kept = guest.balloon.actual
    guest.balloon.target = "256MiB"
    host.advance("5s")
    way = guest.balloon.shrinking
    assert (way.reached, way.given_up, way.size, way.longest) == (0, 1, 256 * MIB - kept, 0)
    assert way.time == 5 * SECOND
    assert guest.balloon.growing.reached == 1


def test_policy_and_balloon_in_a_scenario() -> None:
    quiet = 'kind = "demand", curve = [["0s", "4MiB", "0"]]'
    text = '[host]\nmemory = "256MiB"\n[policy]\nname = "static"\nshare = 0.5\ninterval = "2s"\n'
    result, _ = run(text + vm("a", quiet, count=2) + vm("b", quiet, balloon=False))
    found = outcomes(result)
    for name in ("a-1", "a-2"):
        assert (found[name]["shrinks"], found[name]["freed_bytes"]) == (1, 32 * MIB)
        assert found[name]["reclaim_cpu_ns"] > 0
    rows = [row for row in result.timeline if row.vm == "a-1" and row.step]
    errors = [abs(64 * MIB - row.balloon_bytes - row.balloon_target_bytes) for row in rows]
    assert found["a-1"]["balloon_error_bytes"] == round(sum(errors) / len(errors))
    assert found["b"]["freed_bytes"] == found["b"]["balloon_error_bytes"] == 0
    whole = result.summary["host"]["outcome"]
    assert whole["freed_bytes"] == 64 * MIB and whole["freeing_ns"] == 2 * found["a-1"]["freeing_ns"]
    assert (whole["vms_most"], whole["vms_per_gib"], whole["promised_ratio"]) == (3, 12, 0.75)
    assert whole["guest_mean_bytes"] == round(sum(row.guest_bytes for row in result.host[1:]) / 20)
    page = report_html(result)
    assert "What memory cost" in page and "12.00 a GiB, were promised 0.75 times" in page


def test_large_pages_that_were_cut_and_who_was_killed() -> None:
    hungry = 'kind = "uniform", size = "60MiB", references = 1_000_000_000, compute = "10us"'
    text = f'[host]\nmemory = "48MiB"\nswap = "128MiB"\n{vm("a", hungry, backing="2MiB")}'
    result, host = run(text + vm("b", hungry, memory="16MiB", swap="1MiB").replace("60MiB", "17MiB"), "2s")
    a, b = outcomes(result)["a"], outcomes(result)["b"]
    assert a["host_huge_pages_lost"] == host.stat()["split"] > 0 == b["host_huge_pages_lost"]
    assert (a["oom_kills"], b["oom_kills"]) == (0, 1)
    assert result.summary["host"]["outcome"]["oom_kills"] == 1
    assert b["guest_swapped_out"] == next(
        found["vmstat"]["pswpout"] for found in result.summary["vms"] if found["name"] == "b"
    )


def test_density_counts_who_was_there_at_one_time() -> None:
    def there(arrived: int, departed: int | None, memory: int) -> dict[str, Any]:
        return {"arrived_ns": arrived, "departed_ns": departed, "memory_bytes": memory}

    vms = [there(0, 10, 100), there(0, None, 50), there(10, None, 70), there(12, 15, 10)]
    rows = [HostRow(step, step, 40 - step, 0, 60 + step, 0, 0, 0, 0, 0) for step in range(3)]
    found = density(vms, 1 << 10, rows)
    assert (found["vms_most"], found["promised_ratio"]) == (3, 150 / 1024)
    assert (found["guest_mean_bytes"], found["free_least_bytes"]) == (62, 38)  # 61 and 62


def test_several_together() -> None:
    curve = 'kind = "demand", curve = [["0s", "4MiB", "1MiB"]]'
    result, _ = run('[host]\nmemory = "256MiB"\n' + vm("a", curve, count=3), "1s")
    each = list(outcomes(result).values())
    whole = together(each)
    assert set(whole) == set(each[0])
    assert whole["burst_bytes"] == 12 * MIB
    assert whole["access_p99_ns"] == max(one["access_p99_ns"] for one in each)
