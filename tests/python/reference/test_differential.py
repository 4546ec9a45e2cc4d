"""vmem.Mmu against the model of docs/design/mmu.md: random machines and steps, everything compared."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vmem
from reference.duel import OPERATIONS, Duel, Step, random_step
from reference.machines import random_machine

MACHINES, STEPS = 300, 200
BLOCK = 25


def fight(seed: int, steps: int, second_stage: str | None = None, cpu: vmem.Cpu | None = None) -> Duel:
    rng = Random(seed)
    duel = Duel(random_machine(rng, second_stage, cpu))
    try:
        duel.run(random_step(rng) for _ in range(steps))
    except AssertionError as error:
        raise AssertionError(f"machine {seed} ({second_stage}, {cpu and cpu.name}), {error}") from error
    return duel


@pytest.mark.parametrize("first", range(0, MACHINES, BLOCK))
def test_random_machines(first: int) -> None:
    for seed in range(first, first + BLOCK):
        fight(seed, STEPS)


@pytest.mark.parametrize("name", vmem.Cpu.presets())
@pytest.mark.parametrize("second_stage", ["none", "ept", "npt"])
def test_shipped_processors(name: str, second_stage: str) -> None:
    cpu = vmem.Cpu.preset(name)
    for seed in range(3):
        fight(seed, STEPS, second_stage, cpu)


@pytest.mark.parametrize("second_stage", ["none", "ept", "npt"])
@pytest.mark.parametrize("seed", range(2_000_000, 2_000_002))
def test_long_batches(seed: int, second_stage: str) -> None:
    """Longer than the stretches that the batch loop counts at a time, hits and faults anywhere."""
    rng = Random(seed)
    duel = Duel(random_machine(rng, second_stage, vmem.Cpu.preset("skylake-sp") if seed % 2 else None))
    for length in (241, 1, 4100):
        few = [
            duel.address(rng.randrange(1 << 16), rng.randrange(1 << 16)) for _ in range(rng.randrange(2, 30))
        ]
        duel.batch(rng.choices(few, k=length), rng.choices((0, 1, 2), (6, 3, 1), k=length))
        duel.compare_counters()
    duel.compare_memory()


@pytest.mark.slow
@pytest.mark.parametrize("second_stage", ["none", "ept", "npt"])
@pytest.mark.parametrize("first", range(1_000_000, 1_001_000, 250))
def test_many_random_machines(first: int, second_stage: str) -> None:
    for seed in range(first, first + 250):
        fight(seed, 400, second_stage)


def test_the_streams_reach_every_counter_and_fault() -> None:
    """Or the tests above would prove less than they seem to."""
    counters: dict[str, int] = {}
    operations, kinds = set(), set()
    for seed in range(25):
        rng = Random(seed)
        duel = Duel(random_machine(rng))
        access = duel.model.access

        def noted(address: int, kind: str, access=access):
            result = access(address, kind)
            kinds.add("ok" if result.fault is None else result.fault.kind)
            return result

        duel.model.access = noted  # type: ignore[method-assign]
        steps = [random_step(rng) for _ in range(STEPS)]
        operations.update(step.op for step in steps)
        duel.run(steps)
        for name, value in duel.model.counters.items():
            counters[name] = counters.get(name, 0) + value
    assert min(counters.values()) > 10, counters
    assert operations == set(OPERATIONS)
    assert kinds == {
        "ok",
        "page_fault",
        "general_protection",
        "ept_violation",
        "ept_misconfiguration",
        "nested_page_fault",
    }


STEP = st.builds(
    Step,
    st.sampled_from(tuple(OPERATIONS)),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    seed=st.integers(0, 2**32 - 1),
    second_stage=st.sampled_from(["none", "ept", "npt"]),
    steps=st.lists(STEP, max_size=60),
)
def test_any_steps(seed: int, second_stage: str, steps: list[Step]) -> None:
    """Shrinks to the fewest steps that disagree."""
    Duel(random_machine(Random(seed), second_stage)).run(steps)
