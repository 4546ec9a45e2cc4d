"""Replaying a trace in steps is the same as replaying it at once."""

from __future__ import annotations

import numpy as np
import pytest

import vmem
from vmem.replay import Replay
from vmem.traces import shipped


def _process(page: str = "4KiB") -> tuple[vmem.Vm, vmem.Process]:
    vm = vmem.Hypervisor("2GiB").create_vm("vm", memory="512MiB", backing="2MiB")
    return vm, vm.guest.spawn("program")


def _references(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    addresses = rng.integers(0, 256, count, dtype=np.uint64) * np.uint64(4096) + np.uint64(1 << 30)
    return addresses, rng.integers(0, 2, count, dtype=np.uint8)


@pytest.mark.parametrize("name", sorted(shipped()))
@pytest.mark.parametrize("stretch", [99_991, 3_000_017])
def test_steps_add_up_to_the_whole(name: str, stretch: int) -> None:
    limit = 2_000_000
    whole_vm, whole = _process()
    expected = whole.run(vmem.Trace.open(name), limit)

    vm, process = _process()
    replay = Replay(process, vmem.Trace.open(name), limit)
    steps = []
    while (step := replay.step(stretch)) is not None:
        steps.append(step.references)
    assert replay.done
    assert replay.total == expected
    assert vm.counters() == whole_vm.counters()
    assert sum(steps) == limit
    assert set(steps[:-1]) <= {stretch}


def test_every_reference_apart() -> None:
    """Runs that are cut at every place, those that begin with stores among them."""
    arrays = _references(3000)
    # One page's references follow each other, so that the runs are long.
    order = np.argsort(arrays[0], kind="stable")
    trace = vmem.Trace.from_arrays(arrays[0][order], arrays[1][order]).compacted()
    _, whole = _process()
    whole.load(trace)
    expected = whole.run(trace)
    _, process = _process()
    process.load(trace)
    replay = Replay(process, trace)
    for _ in range(3000):
        step = replay.step(1)
        assert step is not None and step.references == 1
    assert replay.done and replay.step(1) is None
    assert replay.total == expected


def test_done_is_known_with_the_last_reference() -> None:
    _, process = _process()
    trace = vmem.Trace.from_arrays(*_references(1000))
    process.load(trace)
    replay = Replay(process, trace)
    assert not replay.done
    assert replay.step(999) is not None and not replay.done
    last = replay.step(999)
    assert last is not None and last.references == 1 and replay.done
    assert replay.step(999) is None


def test_limit_stops_before_the_mapping_calls_that_follow() -> None:
    _, process = _process()
    trace = vmem.Trace.open("gups")
    replay = Replay(process, trace, limit=0)
    assert replay.done and replay.step() is None
    assert process.mappings() == []


def test_progress_counts_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmem.replay._PACE", 0.0)
    _, process = _process()
    arrays = _references(1_000_000)
    process.mmap("1MiB", at=1 << 30)
    seen: list[int] = []
    replay = Replay(process, arrays)
    replay.step(400_000, progress=seen.append)
    first = len(seen)
    replay.step(progress=seen.append)
    assert first > 0 and all(done <= 400_000 for done in seen[:first])
    assert len(seen) > first and all(400_000 <= done <= 1_000_000 for done in seen[first:])
    assert seen == sorted(seen)


def test_an_exception_ends_the_replay_but_not_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmem.replay._PACE", 0.0)
    _, process = _process()
    arrays = _references(1_000_000)
    process.mmap("1MiB", at=1 << 30)

    class Stop(Exception):
        pass

    def stop(done: int) -> None:
        raise Stop

    replay = Replay(process, arrays)
    with pytest.raises(Stop):
        replay.step(progress=stop)
    assert replay.done and replay.step() is None
    assert process.access(arrays[0][:10], arrays[1][:10]).references == 10


def test_pages_of_mapping_events() -> None:
    """The trace's own mmap calls map the pages that were asked for."""
    _, small = _process()
    _, large = _process()
    trace = vmem.Trace.open("gups")
    few = large.run(trace, page="2MiB").counters
    many = small.run(trace).counters
    assert few["faults.guest_page_fault"] * 50 < many["faults.guest_page_fault"]
    assert few["tlb_misses"] < many["tlb_misses"]


@pytest.mark.parametrize("wrong", [-1, True, 1.5, "many"])
def test_wrong_counts(wrong: object) -> None:
    _, process = _process()
    with pytest.raises(vmem.ConfigError, match=r"limit.*accepted is a number of references from 0"):
        Replay(process, _references(1), wrong)  # type: ignore[arg-type]
    with pytest.raises(vmem.ConfigError, match=r"references.*accepted is a number of references from 1"):
        Replay(process, _references(1)).step(wrong)  # type: ignore[arg-type]
