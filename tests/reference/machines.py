"""Random machines: a processor, page tables in memory, registers to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import vmem
from reference.processors import random_cpu
from reference.tables import FRAMES, GuestTables, SecondStage, World

MEMORY = FRAMES * 4096
CR0 = 1 << 31 | 1
CR4 = 1 << 5
EFER = 1 << 8 | 1 << 10


@dataclass
class Machine:
    """`addresses` are worth accessing, by root of the tables that were made for them.

    `stages` are keyword arguments of set_state that choose a second stage; the first is to start with.
    """

    cpu: vmem.Cpu
    la57: int
    words: dict[int, int]
    entries: list[int]
    roots: list[int]
    stages: list[dict[str, int]]
    addresses: dict[int, list[int]]


def random_machine(rng: Random, second_stage: str | None = None, cpu: vmem.Cpu | None = None) -> Machine:
    """`second_stage`: "none", "ept" or "npt"; None draws one."""
    cpu = cpu or random_cpu(rng)
    kind = second_stage or rng.choice(("none", "ept", "npt"))
    world = World(rng, rng.choice((0, 0, 10, 40) if kind == "none" else (0, 0, 3, 10)), cpu.maxphyaddr)
    guest_levels = rng.choice((4, 5))
    stage, levels = None, cpu.host_levels
    if kind != "none":
        levels = rng.choice((4, 5)) if kind == "ept" else cpu.host_levels
        stage = SecondStage(world, levels, kind == "ept", cpu.one_gib_pages)
        stage.add_data(rng.randrange(1, 6))
    guest = GuestTables(world, guest_levels, stage, cpu.one_gib_pages)
    roots = [guest.new_root() for _ in range(rng.randrange(1, 4))]
    addresses = {root.gpa: guest.addresses(root, 10) for root in roots}
    stages: list[dict[str, int]] = [{"eptp": 0}]
    if stage is not None:
        hosts = [stage.build_root() for _ in range(rng.randrange(1, 3))]
        stages = [_registers(rng, kind, host, levels) for host in hosts for _ in range(2)] + stages
    return Machine(
        cpu,
        1 << 12 if guest_levels == 5 else 0,
        world.words,
        world.entries,
        [root.gpa for root in roots],
        stages,
        addresses,
    )


def _registers(rng: Random, kind: str, root: int, levels: int) -> dict[str, int]:
    if kind == "npt":
        return {"ncr3": root | rng.choice((0, 0x18))}
    return {"eptp": root | 6 | levels - 1 << 3 | rng.randrange(2) << 6}


def random_registers(rng: Random) -> dict[str, int | bool]:
    """Everything of the state that is not a root, with CR4 bits other than LA57."""
    cr4 = sum(1 << bit for bit in (7, 17, 20, 21, 22) if rng.randrange(2))
    return {
        "cr0": CR0 | (1 << 16 if rng.randrange(3) else 0),
        "cr4": CR4 | cr4,
        "efer": EFER | (1 << 11 if rng.randrange(12) else 0),
        "pkru": rng.choice((0, 0, 4, 8, 0x30, 0xC0000002, rng.randrange(1 << 32))),
        "cpl": rng.choice((3, 3, 0, 1)),
        "ac": bool(rng.randrange(2)),
    }
