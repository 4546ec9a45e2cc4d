"""VMs that come and go in the course of a scenario."""

from __future__ import annotations

from typing import Any

import pytest

import vmem
from vmem.report.page import report_html
from vmem.runner import Result
from vmem.scenario import Scenario
from vmem.sweep.answers import answers
from vmem.timed import TimedRunner

MIB = 1 << 20
SECOND = 10**9


def vm(name: str, memory: str = "64MiB", work: str = "", **keys: object) -> str:
    lines = [f"{key} = {value!r}" for key, value in {"name": name, "memory": memory, **keys}.items()]
    work = work or 'kind = "uniform", size = "16MiB", references = 1_000_000_000, compute = "100us"'
    return "\n".join(["[[vm]]", *lines, "[[vm.process]]", f"workload = {{ {work} }}", ""])


def runner(*vms: str, host: str = "", duration: str = "4s", run: str = "slowdown = false") -> TimedRunner:
    tables = "\n".join(vms)
    text = f'[host]\nmemory = "256MiB"\n{host}\n{tables}\n[run]\nduration = "{duration}"\nsteps = 8\n{run}'
    return TimedRunner(Scenario.parse(text))


def summaries(result: Result) -> dict[str, dict[str, Any]]:
    return {vm["name"]: vm for vm in result.summary["vms"]}


def nobody_else_holds_memory(host: vmem.Hypervisor) -> bool:
    """What is not free is the VMs', and their tables; machine frame 0 is nobody's."""
    info = host.meminfo()
    return info["free"] + info["tables"] + sum(vm.resident for vm in host) == info["total"] - 4096


def kinds(host: vmem.Hypervisor) -> list[tuple[str, str, int]]:
    return [(event.kind, event.subject, event.at) for event in host.events() if event.kind.startswith("vm_")]


def test_it_comes_and_leaves_at_its_times_and_its_memory_is_wholly_given_back() -> None:
    made = runner(vm("stays"), vm("guest", arrives="1s", departs="3s"))
    host = made.hypervisor
    began, before = host.now, host.meminfo()
    result = made.run()
    host.check()
    guest = summaries(result)["guest"]
    # Booting takes a moment of the host's clock, as it does at the beginning.
    assert guest["arrived_ns"] - began - 1 * SECOND == pytest.approx(0, abs=10_000_000)
    assert guest["departed_ns"] - began == pytest.approx(3 * SECOND, abs=4_000_000)
    assert guest["stayed_ns"] == guest["departed_ns"] - guest["arrived_ns"]
    assert [(kind, name) for kind, name, _ in kinds(host)] == [
        ("vm_arrived", "guest"),
        ("vm_departed", "guest"),
    ]
    assert [at for *_, at in kinds(host)] == [guest["arrived_ns"], guest["departed_ns"]]
    departed = next(event for event in host.events() if event.kind == "vm_departed")
    assert departed.numbers == {"resident": guest["resident_bytes"], "swapped": 0}
    assert guest["resident_bytes"] >= 16 * MIB and guest["references"] > 10_000
    assert list(host.vms) == ["stays"]
    assert host.meminfo()["committed"] == before["committed"] == host.vms["stays"].memory
    assert nobody_else_holds_memory(host)


def test_a_row_for_each_step_zeros_where_it_is_not_there_and_sums_that_are_exact() -> None:
    result = runner(vm("stays"), vm("guest", arrives="1200ms", departs="2700ms")).run()
    rows = [row for row in result.timeline if row.vm == "guest"]
    assert [row.step for row in rows] == list(range(9))
    assert [row.resident_bytes > 0 for row in rows] == [step in (3, 4, 5) for step in range(9)]
    assert [row.references > 0 for row in rows] == [step in (3, 4, 5, 6) for step in range(9)]
    guest = summaries(result)["guest"]
    assert sum(row.references for row in rows) == guest["references"]
    assert sum(row.cycles for row in rows) == guest["counters"]["cycles"]
    assert len(report_html(result)) > 100_000


def test_who_comes_late_does_what_it_would_have_done_from_the_beginning() -> None:
    """Alone for as long, on a host with plenty: the same references, but for a batch at the end."""
    late = summaries(runner(vm("a", arrives="2s"), duration="4s", run="").run())["a"]
    early = summaries(runner(vm("a"), duration="2s", run="").run())["a"]
    for key in ("references", "slowdown", "running_ns"):
        assert late[key] == pytest.approx(early[key], rel=0.01)


def test_the_host_goes_on_when_nobody_has_anything_to_run() -> None:
    short = 'kind = "uniform", size = "1MiB", references = 1000, compute = "100us"'
    made = runner(vm("first", work=short), vm("second", work=short, arrives="2s"))
    result = made.run()
    first, second = summaries(result).values()
    assert (first["references"], second["references"]) == (1000, 1000)
    assert second["arrived_ns"] >= 2 * SECOND
    assert result.summary["elapsed_ns"] < 2.6 * SECOND  # all have ended


ADMISSION = 'admission = "esx"\nvm_overhead = "8MiB"\nswap = "64MiB"'


def test_who_does_not_fit_is_turned_away_and_the_others_do_not_notice() -> None:
    """Reservations and overheads: 2 x (100 + 8) MiB fit into 256 MiB, three do not."""
    vms = [vm(name, "100MiB", reservation="100MiB", arrives=f"{i}s") for i, name in enumerate("abc")]
    made = runner(*vms, host=ADMISSION)
    result = made.run()
    made.hypervisor.check()
    assert list(summaries(result)) == ["a", "b"]
    (refused,) = result.summary["refused"]
    assert refused["name"] == "c" and refused["memory_bytes"] == 100 * MIB
    assert "is not admitted: reservations and overheads would be 339738624 bytes" in refused["why"]
    assert [text for text in result.warnings if "'c' was turned away" in text]
    event = next(event for event in made.hypervisor.events() if event.kind == "vm_refused")
    assert (event.subject, event.numbers["memory"], event.numbers["swap_free"]) == ("c", 100 * MIB, 64 * MIB)
    assert {row.vm for row in result.timeline} == {"a", "b"}
    assert answers(result)["ratio"] == 200 / 256


def test_who_leaves_makes_room_for_who_comes_at_the_same_time() -> None:
    vms = [
        vm("old", "100MiB", reservation="100MiB", departs="2s"),
        vm("other", "100MiB", reservation="100MiB"),
        vm("new", "100MiB", reservation="100MiB", arrives="2s"),
    ]
    made = runner(*reversed(vms), host=ADMISSION)
    result = made.run()
    made.hypervisor.check()
    assert [kind for kind, *_ in kinds(made.hypervisor)] == ["vm_departed", "vm_arrived"]
    assert not result.summary["refused"]
    assert answers(result)["ratio"] == 200 / 256


def test_a_machine_that_the_host_has_no_room_for_is_turned_away_too() -> None:
    result = runner(vm("a"), vm("bare", "244MiB", mmu="native", arrives="1s")).run()
    (refused,) = result.summary["refused"]
    assert refused["name"] == "bare" and "bare" in refused["why"]


def test_in_the_middle_of_overcommitment_and_a_policy() -> None:
    """Swapped, ballooned, killed processes: it leaves nothing behind, and its kernel's events stay."""
    hungry = 'kind = "uniform", size = "120MiB", references = 1_000_000_000, compute = "20us", writes = 1.0'
    made = runner(
        *(vm(name, "128MiB", hungry, swap="64MiB", departs="3s") for name in "ab"),
        vm("c", "128MiB", hungry, arrives="1s", departs="2500ms"),
        vm("last", "32MiB", arrives="500ms"),
        host='swap = "512MiB"\n[policy]\nname = "static"\nshare = 0.7\n',
    )
    result = made.run()
    host = made.hypervisor
    host.check()
    vms = summaries(result)
    assert vms["a"]["balloon_bytes"] > 30 * MIB and vms["c"]["vmstat"]["oom_kill"] == 1
    assert result.summary["host"]["stat"]["swapped_out"] + vms["a"]["vmstat"]["pswpout"] > 0
    assert host.meminfo()["swap_used"] == host.vms["last"].swapped
    assert nobody_else_holds_memory(host)
    assert [event.subject for event in host.events() if event.kind == "oom_kill"] == ["uniform"]
    assert [event.at for event in host.events()] == sorted(event.at for event in host.events())


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"arrives": "4s"}, r"vm\[0\].arrives: 4000000000; accepted is a time before the run's end"),
        (
            {"arrives": "2s", "departs": "2s"},
            r"vm\[0\].departs: 2000000000; accepted is a time after its arrival",
        ),
        ({"departs": 0}, r"vm\[0\].departs: 0; accepted is a time after its arrival, 0 ns"),
        ({"arrives": "soon"}, r"vm\[0\].arrives: 'soon' is not a duration"),
    ],
)
def test_impossible_times(keys: dict[str, object], said: str) -> None:
    with pytest.raises(vmem.ConfigError, match=said):
        runner(vm("a", **keys))


def test_times_need_time() -> None:
    for key in ("arrives", "departs"):
        with pytest.raises(vmem.ConfigError, match=rf"vm\[0\].{key}: accepted in a run over time only"):
            Scenario.parse(vm("a", **{key: "1s"}))


def test_admissions() -> None:
    with pytest.raises(vmem.ConfigError, match=r"host.admission: 'maybe'; accepted is .none. or .esx."):
        runner(vm("a"), host='admission = "maybe"')


def test_a_run_without_any_vm_says_so() -> None:
    lonely = vm("a", "128MiB", reservation="128MiB", arrives="1s")
    host = 'admission = "esx"\nvm_overhead = "200MiB"'
    with pytest.raises(vmem.OutOfMemory, match="no VM of the scenario has run: VM 'a' is not admitted"):
        runner(lonely, host=host).run()
