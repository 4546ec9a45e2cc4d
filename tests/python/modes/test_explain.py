"""What is told of an access is what happened: held against counters, literature and all modes."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

import vmem
from vmem.cli import main
from vmem.explain import KINDS, Explanation
from vmem.explain.scenarios import SCENARIOS, run

PAGE = 4096
BARE = vmem.Cpu(psc=None, host_psc=None, nested_tlb=None)
MODES: dict[str, dict[str, Any]] = {
    "native": {"mmu": "native"},
    "nested": {"mmu": "nested"},
    "nested, NPT": {"mmu": "nested", "cpu": "zen3"},
    "trace": {"mmu": "shadow", "sync": "trace"},
    "unsync": {"mmu": "shadow", "sync": "unsync"},
    "vtlb": {"mmu": "shadow", "sync": "vtlb"},
    "software": {"mmu": "software-tlb"},
    "software, two levels": {"mmu": "software-tlb", "software_tlb": 64},
}


def small_machine(**options: Any) -> tuple[vmem.Vm, vmem.Process, vmem.Mapping]:
    vm = vmem.Hypervisor("256MiB", swap="16MiB").create_vm("guest", memory="16MiB", **options)
    process = vm.guest.spawn()
    return vm, process, process.mmap("1MiB")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(3))
def test_the_story_agrees_with_the_counters(mode: str, seed: int) -> None:
    """Every reference, exit and verdict that was counted has been told, and the cycles add up."""
    rng = random.Random(seed)
    vm, process, area = small_machine(**MODES[mode])
    for _ in range(60):
        if rng.randrange(8) == 0:
            vm.vcpus[0].flush_tlb()
        if rng.randrange(8) == 0:
            process.mprotect(area.start + rng.randrange(200) * PAGE, rng.choice(["r", "rw"]), PAGE)
        before = vm.counters()
        told = vm.explain(process, area.start + rng.randrange(300) * PAGE, rng.choice(KINDS))
        after = vm.counters()
        made = {name: after[name] - before[name] for name in after}
        assert {name: made[name] for name in told.counters} == told.counters
        steps = Counter(step.kind for step in told.steps)
        software = sum(step.number for step in told.steps if step.kind == "software_walk")
        assert steps["read"] + software == made["walk_refs"]
        exits = Counter(f"exits.{step.name}" for step in told.steps if step.kind == "exit")
        verdicts = Counter(f"faults.{step.name}" for step in told.steps if step.kind == "verdict")
        assert exits == {k: v for k, v in made.items() if k.startswith("exits.") and v}
        assert verdicts == {k: v for k, v in made.items() if k.startswith("faults.") and v}
        assert told.cycles == sum(step.cycles for step in told.steps) == made["cycles"]


def test_the_two_dimensional_walk_is_numbered_as_in_the_literature() -> None:
    """Four host references find the guest's level-4 entry, which is the fifth, and so on to 24."""
    vm, process, area = small_machine(mmu="nested", cpu=BARE)
    process.write(area.start, b"x")
    vm.vcpus[0].flush_tlb()
    (walk,) = vm.explain(process, area.start, "load").reads()
    expected = []
    for guest in (4, 3, 2, 1):
        expected += [("second_stage", level) for level in (4, 3, 2, 1)] + [("guest", guest)]
    expected += [("second_stage", level) for level in (4, 3, 2, 1)]
    assert [(step.table, step.level) for step in walk] == expected
    assert [step.number for step in walk] == list(range(1, 25))


def test_reads_are_the_bytes_of_memory() -> None:
    """Entries and their places, held against guest memory as the hypervisor sees it."""
    vm, process, area = small_machine(mmu="nested", cpu=BARE)
    process.write(area.start, b"x")
    vm.vcpus[0].flush_tlb()
    for step in vm.explain(process, area.start, "load").reads()[0]:
        if step.table == "guest":
            assert int.from_bytes(vm.read_physical(step.address, 8), "little") == step.entry


def test_an_access_that_is_explained_is_an_access() -> None:
    """Two machines, one explained, are equal afterwards to the last bit and counter."""
    for options in MODES.values():
        plain, other, area = small_machine(**options)
        told, process, _ = small_machine(**options)
        rng = random.Random(7)
        for _ in range(40):
            page, kind = rng.randrange(300), rng.randrange(3)
            other.access(*vmem.batch([area.start + page * PAGE], kind))
            told.explain(process, area.start + page * PAGE, KINDS[kind])
        assert told.counters() == plain.counters()
        assert told.read_physical(0, "16MiB") == plain.read_physical(0, "16MiB")


def kinds_of(told: Explanation, kind: str) -> list[str]:
    return [step.name for step in told.steps if step.kind == kind]


def test_whose_fault_a_first_touch_is() -> None:
    nested = run("first-touch", "nested")
    first, *rest = kinds_of(nested, "decision")
    assert first == "inject"  # the guest's; then the frames that its kernel takes, which are the hypervisor's
    assert rest == ["retry"] * len(rest) != []
    assert kinds_of(nested, "exit") == ["ept_violation"] * len(rest)
    shadow = run("first-touch", "shadow")
    assert kinds_of(shadow, "decision")[0] == "inject"
    assert "page_table_write" in kinds_of(shadow, "exit")
    assert kinds_of(run("first-touch", "native"), "exit") == []


def test_what_the_guest_never_learns_of() -> None:
    for mmu in ("nested", "shadow", "software-tlb"):
        swapped = run("host-swap", mmu)
        assert "host_swap_in" in kinds_of(swapped, "verdict")
        assert "guest_page_fault" not in kinds_of(swapped, "verdict")
        # Without a page walker the wait falls into the guest's own TLB write, not into a decision.
        assert any(step.waited_ns > 0 for step in swapped.steps) == (mmu != "software-tlb")


@pytest.mark.parametrize("mmu", ["native", "nested", "shadow", "software-tlb"])
def test_a_page_in_the_guests_swap_is_the_guests_fault(mmu: Any) -> None:
    told = run("guest-swap", mmu)
    assert "host_swap_in" not in kinds_of(told, "verdict")
    assert "resolved" in kinds_of(told, "handler")
    assert told.steps[-1].name == "done"
    text = str(told)
    if mmu in ("native", "nested"):
        assert "of the guest's swap" in text
    if mmu == "nested":
        assert kinds_of(told, "decision")[0] == "inject"
        assert "ept_violation" not in kinds_of(told, "exit")[:1], "hardware delivers it without an exit"
    if mmu != "native":
        assert {"io", "interrupt"} <= set(kinds_of(told, "exit")), "a doorbell, and the disk's answer"


def test_a_frame_that_the_balloon_took_comes_back_without_memory() -> None:
    """The guest's kernel uses both frames again as its own; only the ballooned one has to be backed."""
    for mmu in ("nested", "shadow", "software-tlb"):
        assert "backed_on_demand" in kinds_of(run("ballooned", mmu), "verdict")
        assert "backed_on_demand" not in kinds_of(run("unmapped", mmu), "verdict")


def test_a_segmentation_fault_ends_with_a_signal() -> None:
    for mmu in ("native", "nested", "shadow"):
        told = run("segmentation-fault", mmu)
        assert told.steps[-1].name == "signal"
        assert kinds_of(told, "handler") == ["signal"]


def test_a_switch_exits_only_where_the_hypervisor_must_know() -> None:
    assert "cr3_write" in kinds_of(run("cr3-switch", "shadow"), "exit")
    assert "cr3_write" not in kinds_of(run("cr3-switch", "nested"), "exit")


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("mmu", ["native", "nested", "shadow", "software-tlb"])
def test_every_scenario_can_be_told_and_drawn(scenario: str, mmu: str, tmp_path: Path) -> None:
    picture, data = tmp_path / "walk.svg", tmp_path / "steps.json"
    arguments = ["explain", "--scenario", scenario, "--mmu", mmu, "--svg", str(picture), "--json", str(data)]
    result = CliRunner().invoke(main, arguments)
    if mmu == "native" and scenario in ("host-swap", "ballooned"):
        assert result.exit_code == 1
        assert "needs a hypervisor" in result.output
        return
    assert result.exit_code == 0, result.output
    steps = json.loads(data.read_text())["steps"]
    reads = [step for step in steps if step["kind"] == "read"]
    last = [step["number"] for step in reads]
    drawn = ElementTree.parse(picture).getroot()
    numbers = [
        int(text.text.rstrip("!"))
        for text in drawn.iter("{http://www.w3.org/2000/svg}text")
        if text.text and text.get("font-size") == "23"
    ]
    final = last[len(last) - last[::-1].index(1) - 1 :] if last else []
    walked = any(step["kind"] == "walk" for step in steps)
    assert sorted(numbers) == (final if walked else [])


def test_bad_calls_say_what_is_accepted() -> None:
    vm, process, area = small_machine(mmu="nested")
    other, _, _ = small_machine(mmu="nested")
    with pytest.raises(vmem.ConfigError, match="load, store, fetch"):
        vm.explain(process, area.start, "jump")
    with pytest.raises(vmem.ConfigError, match="not a process of"):
        other.explain(process, area.start)
    with pytest.raises(vmem.ConfigError, match="first-touch"):
        run("nothing")
