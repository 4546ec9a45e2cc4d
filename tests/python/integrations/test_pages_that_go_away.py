"""Accesses to two pages while the host takes pages away: the fault of one may take the other."""

from __future__ import annotations

import random
from typing import Any

import pytest

import vmem
from vmem.integrations.unicorn import Cpu

PAGES = 700  # 2.7 MiB, on a host of 2 MiB
MODES: dict[str, dict[str, Any]] = {
    "nested": {"mmu": "nested"},
    "shadow": {"mmu": "shadow"},
    "software-tlb": {"mmu": "software-tlb"},
}


@pytest.mark.parametrize("mode", MODES)
def test_stores_and_loads_in_two_pages(mode: str) -> None:
    """Every byte arrives, and each half is counted once, however often the instruction starts over."""
    rng = random.Random(1)
    host = vmem.Hypervisor("2MiB", swap="16MiB", reclaim=vmem.HostReclaim(victims="random"))
    vm = host.create_vm("vm", memory="8MiB", **MODES[mode])
    process = vm.guest.spawn("process")
    code, data = process.mmap("4KiB", prot="rwx"), process.mmap(PAGES << 12)
    process.write(code.start, bytes.fromhex("488907 488b16 0f05"))  # mov [rdi], rax; mov rdx, [rsi]; syscall
    cpu, model, count = Cpu(process), bytearray(PAGES << 12), 6000
    for number in range(count):
        store, load = (rng.randrange(1, PAGES) * 4096 - rng.randint(1, 7) for _ in range(2))
        value = rng.randbytes(8)
        cpu["rip"], cpu["rax"] = code.start, int.from_bytes(value, "little")
        cpu["rdi"], cpu["rsi"] = data.start + store, data.start + load
        assert cpu.run().reason == "syscall"
        model[store : store + 8] = value
        assert cpu["rdx"].to_bytes(8, "little") == model[load : load + 8], number
    assert process.read(data.start, len(model)) == model
    assert cpu.accesses == {"fetches": 3 * count, "loads": 2 * count, "stores": 2 * count}
    assert host.stat()["swapped_in"] > 1000
    host.check()
