"""`vmem compare`: the modes side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import vmem
from vmem.scenario import MODES

Command = Callable[..., Result]


def _compare(command: Command, tmp_path: Path, *arguments: object) -> tuple[Result, dict[str, Any]]:
    target = tmp_path / "numbers.json"
    result = command("compare", *arguments, "--json", target)
    assert result.exit_code == 0, result.stderr
    return result, json.loads(target.read_text())


def _mode(numbers: dict[str, Any], mmu: str) -> dict[str, Any]:
    return next(mode for mode in numbers["modes"] if mode["mmu"] == mmu)


def _row(result: Result, label: str) -> list[str]:
    line = next(line for line in result.stdout.splitlines() if line.startswith(label))
    return line[len(label) :].split()


def test_every_mode_is_a_column(vmem_command: Command, tmp_path: Path) -> None:
    result, numbers = _compare(vmem_command, tmp_path, "bfs", "--limit", 2_000_000)
    assert [mode["mmu"] for mode in numbers["modes"]] == list(MODES)
    assert result.stdout.splitlines()[1].split() == list(MODES)
    for mode in numbers["modes"]:
        assert mode["references"] == 2_000_000 == mode["counters"]["accesses"]
        assert sum(mode["cycles_by_cause"].values()) == mode["counters"]["cycles"]
    native, nested = (_mode(numbers, mmu) for mmu in ("native", "nested"))
    assert native["counters"]["tlb_misses"] == nested["counters"]["tlb_misses"] > 0
    assert native["counters"]["walk_refs_host"] == 0 < nested["counters"]["walk_refs_host"]
    assert _row(result, "walk references") == [
        f"{mode['counters']['walk_refs']:,}" for mode in numbers["modes"]
    ]
    ratio = nested["counters"]["cycles"] / native["counters"]["cycles"]
    assert _row(result, "cycles / native")[:2] == ["1.000", f"{ratio:.3f}"]
    assert max(len(line.rstrip()) for line in result.stdout.splitlines()) <= 80


def test_same_numbers_as_the_python_api(vmem_command: Command, tmp_path: Path) -> None:
    _, numbers = _compare(vmem_command, tmp_path, "gups", "--limit", 3_000_000, "--memory", "512MiB")
    trace = vmem.Trace.open("gups")
    for mode in numbers["modes"]:
        vm = vmem.Hypervisor("3GiB").create_vm("vm", memory="512MiB", mmu=mode["mmu"])
        process = vm.guest.spawn("gups")
        process.load(trace)
        process.run(trace, 3_000_000)
        assert vm.counters() == mode["counters"]


def test_pages_and_processor(vmem_command: Command, tmp_path: Path) -> None:
    limit = ("--limit", 3_000_000)
    small = _compare(vmem_command, tmp_path, "gups", *limit)[1]["modes"]
    large = _compare(vmem_command, tmp_path, "gups", *limit, "--page", "2MiB", "--backing", "2MiB")[1][
        "modes"
    ]
    zen = _compare(vmem_command, tmp_path, "gups", *limit, "--cpu", "zen4")[1]["modes"]
    for few, many in zip(large, small, strict=True):
        assert few["counters"]["tlb_misses"] * 10 < many["counters"]["tlb_misses"]
    assert zen[0]["counters"]["tlb_misses"] < small[0]["counters"]["tlb_misses"]


def test_a_file_of_single_references(vmem_command: Command, tmp_path: Path) -> None:
    addresses = np.tile(np.arange(1 << 20, (1 << 20) + (100 << 12), 4096, dtype=np.uint64), 5)
    np.savez(tmp_path / "t.npz", addresses=addresses, kinds=np.zeros(len(addresses), np.uint8))
    result, numbers = _compare(vmem_command, tmp_path, tmp_path / "t.npz")
    assert numbers["trace"] == "t" and numbers["modes"][0]["references"] == 500
    assert _row(result, "guest faults") == ["100"] * len(MODES)


def test_too_little_memory_is_a_warning(vmem_command: Command, tmp_path: Path) -> None:
    result, numbers = _compare(vmem_command, tmp_path, "gups", "--memory", "16MiB")
    assert all(mode["killed"] for mode in numbers["modes"])
    for mode in numbers["modes"]:
        after = f"out of memory after {mode['references']:,} references"
        assert f"Warning: {mode['mmu']}: {after}; --memory gives the guest more" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "no such file; the shipped traces are bfs, "),
        (("bfs", "--cpu", "i8080"), "unknown CPU 'i8080', known are skylake-sp"),
        (("bfs", "--memory", "much"), "--memory: 'much' is not a size"),
        (("bfs", "--memory", "5000"), "5000"),
    ],
)
def test_errors(vmem_command: Command, arguments: tuple[str, ...], message: str) -> None:
    result = vmem_command("compare", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--page", "--backing"])
def test_page_sizes_are_listed(vmem_command: Command, option: str) -> None:
    result = vmem_command("compare", "bfs", option, "8KiB")
    assert result.exit_code == 2
    assert "'4KiB', '2MiB', '1GiB', 'auto'" in result.stderr
