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
from vmem import measures
from vmem.cli.compare import VARIANTS

Command = Callable[..., Result]


def _compare(command: Command, tmp_path: Path, *arguments: object) -> tuple[Result, dict[str, Any]]:
    target = tmp_path / "numbers.json"
    result = command("compare", *arguments, "--json", target)
    assert result.exit_code == 0, result.stderr
    return result, json.loads(target.read_text())


def _mode(numbers: dict[str, Any], mmu: str, sync: str | None = None) -> dict[str, Any]:
    return next(mode for mode in numbers["modes"] if mode["mmu"] == mmu and mode["sync"] in (None, sync))


def _row(result: Result, label: str) -> list[str]:
    """A row's cells, through all the tables that the width of the console made of one."""
    lines = [line for line in result.stdout.splitlines() if line.startswith(label)]
    return [cell for line in lines for cell in line[len(label) :].split()]


def test_every_mode_and_variant_is_a_column(vmem_command: Command, tmp_path: Path) -> None:
    result, numbers = _compare(vmem_command, tmp_path, "bfs", "--limit", 2_000_000)
    named = [(mode["mmu"], mode["sync"], mode["software_tlb"]) for mode in numbers["modes"]]
    assert named == [variant[1:] for variant in VARIANTS]
    for mode in numbers["modes"]:
        c = mode["counters"]
        assert mode["references"] == 2_000_000 == c["accesses"]
        assert sum(mode["cycles_by_cause"].values()) == c["cycles"]
        assert mode["true_faults"] == c["faults.guest_page_fault"]
        assert mode["hidden_faults"] + mode["true_faults"] == sum(
            count for name, count in c.items() if name.startswith("faults.")
        )
        assert mode["exits"] == sum(count for name, count in c.items() if name.startswith("exits."))
        assert mode["slowdown"] == c["cycles"] / numbers["modes"][0]["counters"]["cycles"]
    native, nested = (_mode(numbers, mmu) for mmu in ("native", "nested"))
    assert native["counters"]["tlb_misses"] == nested["counters"]["tlb_misses"] > 0
    assert native["counters"]["walk_refs_host"] == 0 < nested["counters"]["walk_refs_host"]
    assert native["exits"] == native["hidden_faults"] == 0
    # All see the same faults: no guest can tell.
    assert len({mode["true_faults"] for mode in numbers["modes"]}) == 1
    for label, key in {"walk references": "walk_refs", "walks": "walks", "cycles  ": "cycles"}.items():
        assert _row(result, label) == [f"{mode['counters'][key]:,}" for mode in numbers["modes"]]
    assert _row(result, "VM exits") == [f"{mode['exits']:,}" for mode in numbers["modes"]]
    ratios = [f"{mode['slowdown']:.3f}" for mode in numbers["modes"]]
    assert _row(result, "slowdown  ") == ratios and ratios[0] == "1.000"


def test_exits_are_shown_by_reason(vmem_command: Command, tmp_path: Path) -> None:
    result, numbers = _compare(vmem_command, tmp_path, "bfs", "--limit", 300_000)
    names = {name.removeprefix("exits.") for name in numbers["modes"][0]["counters"] if "exits." in name}
    assert names == set(measures.EXIT_REASONS)
    for reason in ("ept_violation", "page_table_write", "tlb_refill"):
        counts = [mode["counters"][f"exits.{reason}"] for mode in numbers["modes"]]
        shown = [int(cell.replace(",", "")) for cell in _row(result, f"  {reason}")]
        assert [count for count in shown if count] == [count for count in counts if count] != []
    assert "  hypercall" not in result.stdout


@pytest.mark.parametrize(("columns", "tables"), [(80, 2), (60, 4), (200, 1), (20, len(VARIANTS))])
def test_the_table_is_cut_to_the_width_of_the_console(
    vmem_command: Command, tmp_path: Path, columns: int, tables: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    result, numbers = _compare(vmem_command, tmp_path, "bfs", "--limit", 300_000)
    lines = result.stdout.splitlines()
    if columns >= 60:
        assert sum(line.startswith("references") for line in lines) == tables
        assert len(_row(result, "references")) == len(numbers["modes"])
        assert max(len(line.rstrip()) for line in lines) <= columns


def _options(mode: dict[str, Any]) -> dict[str, Any]:
    chosen = {key: mode[key] for key in ("mmu", "sync", "software_tlb")}
    return {key: value for key, value in chosen.items() if value is not None}


def test_same_numbers_as_the_python_api(vmem_command: Command, tmp_path: Path) -> None:
    _, numbers = _compare(vmem_command, tmp_path, "gups", "--limit", 3_000_000, "--memory", "512MiB")
    trace = vmem.Trace.open("gups")
    for mode in numbers["modes"]:
        vm = vmem.Hypervisor("3GiB").create_vm("vm", memory="512MiB", **_options(mode))
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
    assert _row(result, "true faults, the guest's") == ["100"] * len(VARIANTS)


def test_where_shadow_beats_nested_and_where_it_does_not(vmem_command: Command, tmp_path: Path) -> None:
    """Random loads beyond the TLBs' reach repay the shadow's faults; a trace of first touches does not."""
    pages = np.random.default_rng(1).integers(0, 4096, 5_000_000, dtype=np.uint64)
    addresses = np.uint64(1 << 28) + pages * np.uint64(4096)
    np.savez(tmp_path / "random.npz", addresses=addresses, kinds=np.zeros(len(addresses), np.uint8))
    for trace, shadow_wins in ((tmp_path / "random.npz", True), ("gups", False)):
        modes = _compare(vmem_command, tmp_path, trace)[1]["modes"]
        (nested,) = [mode["counters"]["cycles"] for mode in modes if mode["mmu"] == "nested"]
        shadows = [mode["counters"]["cycles"] for mode in modes if mode["mmu"] == "shadow"]
        assert len(shadows) == 3
        assert all((cycles < nested) == shadow_wins for cycles in shadows)


def test_too_little_memory_is_a_warning(vmem_command: Command, tmp_path: Path) -> None:
    result, numbers = _compare(vmem_command, tmp_path, "gups", "--memory", "16MiB")
    assert all(mode["killed"] for mode in numbers["modes"])
    for mode, variant in zip(numbers["modes"], VARIANTS, strict=True):
        after = f"out of memory after {mode['references']:,} references"
        name = variant.label.replace("\n", " ")
        assert f"Warning: {name}: {after}; --memory gives the guest more" in result.stderr


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
