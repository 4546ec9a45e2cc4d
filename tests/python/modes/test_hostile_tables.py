"""Guest page tables with any bytes in them: no mode crashes, hangs, or lets out of the guest's own frames."""

from __future__ import annotations

import random
import struct
from typing import Any

import numpy as np
import pytest

import vmem

PAGE = 4096
MEMORY = 4 << 20
ADDRESS = 0x000F_FFFF_FFFF_F000
MODES: dict[str, dict[str, Any]] = {
    "native": {"mmu": "native"},
    "nested": {"mmu": "nested"},
    "nested, NPT": {"mmu": "nested", "cpu": "zen3"},
    "trace": {"mmu": "shadow", "sync": "trace"},
    "unsync": {"mmu": "shadow", "sync": "unsync"},
    "vtlb": {"mmu": "shadow", "sync": "vtlb"},
    "trace, few pages": {"mmu": "shadow", "sync": "trace", "shadow_pages": 9},
    "trace, direct faults": {"mmu": "shadow", "sync": "trace", "direct_faults": True},
    "unsync, direct faults": {"mmu": "shadow", "sync": "unsync", "direct_faults": True},
    "software TLB": {"mmu": "software-tlb"},
    "software TLB, second level": {"mmu": "software-tlb", "software_tlb": 64},
}
SECRET = b"another machine's secret"


def present(entry: int) -> bool:
    return entry & 1 == 1


def tables_of(vm: vmem.Vm) -> list[int]:
    """Guest-physical addresses of frames that hold page tables: entries that look like the kernel's own."""
    found = []
    for gpa in range(0x10000, MEMORY, PAGE):
        entries = struct.unpack("<512Q", vm.read_physical(gpa, PAGE))
        live = [entry for entry in entries if entry]
        if live and all(present(entry) and (entry & ADDRESS) < MEMORY for entry in live):
            found.append(gpa)
    return found


def hostile_entry(rng: random.Random, tables: list[int]) -> int:
    """Everything an entry should not be, and some that it may."""
    flags = rng.getrandbits(12) | 1
    match rng.randrange(8):
        case 0:
            return rng.getrandbits(64)
        case 1:
            return rng.choice(tables) | 0x67  # a table as a table of any level, or as data
        case 2:
            return (rng.randrange(MEMORY, 1 << 46) & ADDRESS) | flags
        case 3:
            return (rng.randrange(MEMORY) & ADDRESS) | flags | (1 << 63)
        case 4:
            return (rng.randrange(MEMORY) & ADDRESS) | 0xE7  # a large page of any alignment
        case 5:
            return rng.choice(tables) | flags | (1 << rng.randrange(52, 63))
        case 6:
            return flags & ~1
        case _:
            return (rng.randrange(MEMORY) & ADDRESS) | 0x67


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(8))
def test_any_table(mode: str, seed: int) -> None:
    rng = random.Random(seed)
    host = vmem.Hypervisor("64MiB")
    neighbour = host.create_vm("neighbour", memory=MEMORY)
    other = neighbour.guest.spawn()
    secret = other.mmap("1MiB")
    for page in range(secret.start, secret.end, PAGE):
        other.write(page, SECRET)
    vm = host.create_vm("hostile", memory=MEMORY, **MODES[mode])
    process = vm.guest.spawn()
    area = process.mmap("256KiB")
    for page in range(area.start, area.end, PAGE):
        process.write(page, b"x")
    tables = tables_of(vm)
    assert len(tables) >= 4
    frames = host.meminfo()["total"] // PAGE
    for _ in range(12):
        for _ in range(rng.randrange(1, 40)):
            table = rng.choice(tables)
            vm.write_physical(table + 8 * rng.randrange(512), struct.pack("<Q", hostile_entry(rng, tables)))
            vm.write_physical(
                table + 8 * rng.choice([0, 255, 511, (area.start >> 12) & 511, (area.start >> 39) & 511]),
                struct.pack("<Q", hostile_entry(rng, tables)),
            )
        vm.vcpus[0].flush_tlb()
        near = area.start + rng.randrange(64) * PAGE
        pages = [near, *(rng.getrandbits(47) & ~7 for _ in range(20)), *range(area.start, area.end, 8 * PAGE)]
        addresses, _ = vmem.batch(pages)
        kinds = np.array([rng.randrange(3) for _ in pages], np.uint8)
        process.access(addresses, kinds)
        for page in pages[:6]:
            try:
                assert SECRET not in process.read(page, 64)
                process.write(page, b"overwritten by the hostile guest")
            except vmem.SegmentationFault:
                pass
        reached = process.translate(addresses)
        reached = reached[reached != vmem.UNMAPPED] // np.uint64(PAGE)
        assert (reached < frames).all()
        for page in range(secret.start, secret.end, PAGE):
            assert other.read(page, len(SECRET)) == SECRET
