"""A C program in four VMs on a host with too little memory for them prints what it prints on its own."""

from __future__ import annotations

import io
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import vmem
from vmem.integrations.unicorn import Program

from .conftest import Compile

VARIANTS: dict[str, dict[str, Any]] = {
    "native": {"mmu": "native"},
    "nested": {"mmu": "nested"},
    "nested, 2 MiB backing": {"mmu": "nested", "backing": "2MiB"},
    "shadow, trace": {"mmu": "shadow", "sync": "trace"},
    "shadow, unsync": {"mmu": "shadow", "sync": "unsync"},
    "shadow, vtlb": {"mmu": "shadow", "sync": "vtlb"},
    "software TLB": {"mmu": "software-tlb"},
    "software TLB, two levels": {"mmu": "software-tlb", "software_tlb": 4096},
}
RECORDS = "1600"  # twice 1.6 MB


class Running:
    """The program in one VM, with a seed of its own."""

    def __init__(self, host: vmem.Hypervisor, seed: int, path: Path, options: dict[str, Any]) -> None:
        balloon = options["mmu"] != "native"
        self.vm = host.create_vm(f"vm{seed}", memory="16MiB", balloon=balloon, **options)
        self.output = io.BytesIO()
        self.seed = str(seed)
        self.program = Program(
            self.vm.guest.spawn("sorter"), path, [RECORDS, self.seed], stdout=self.output, stderr=self.output
        )

    def squeeze(self, turn: int) -> None:
        """The balloon goes up and down."""
        if self.vm.balloon is not None:
            self.vm.balloon.target = "11MiB" if turn % 2 == 0 else "16MiB"


def run_four(host: vmem.Hypervisor, running: list[Running]) -> None:
    for turn in range(1000):
        for one in running:
            one.squeeze(turn + int(one.seed))
            one.program.run(400_000)
        host.advance("20ms")
        if turn % 4 == 0:
            host.share()
        if all(one.program.status is not None for one in running):
            return
    pytest.fail("the programs do not end")


@cache
def accesses_alone(path: Path) -> list[dict[str, int]]:
    """Of the four programs, each on a machine of its own that has all it needs and is native."""
    counts = []
    for seed in range(1, 5):
        one = Running(vmem.Hypervisor("64MiB"), seed, path, {"mmu": "native"})
        one.program.run()
        counts.append(one.program.cpu.accesses)
    return counts


@pytest.mark.parametrize("variant", VARIANTS)
def test_output_is_that_of_a_native_run(variant: str, compile_static: Compile) -> None:
    path, options = compile_static("sorter.c"), VARIANTS[variant]
    is_native = options["mmu"] == "native"
    host = vmem.Hypervisor("80MiB" if is_native else "9MiB", swap="128MiB")
    running = [Running(host, seed, path, options) for seed in range(1, 5)]
    run_four(host, running)
    host.check()
    for one in running:
        alone = subprocess.run([path, RECORDS, one.seed], capture_output=True, check=True)
        assert one.output.getvalue() == alone.stdout and one.program.status == 0
        assert one.program.unknown_calls == []
    assert len({one.output.getvalue() for one in running}) == 4
    # What a program does is its own, whatever host and balloons do.
    assert [one.program.cpu.accesses for one in running] == accesses_alone(path)
    if is_native:
        return
    assert host.stat()["swapped_in"] > 0
    for one in running:
        statistics = one.vm.guest.vmstat()
        assert statistics["balloon_inflate"] > 0 and statistics["balloon_deflate"] > 0
        assert one.vm.counters()["faults.host_swap_in"] > 0
