"""The simulator and the model side by side: every step made by both, everything compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

import numpy as np

import vmem
from reference.counters import NAMES
from reference.machines import CR0, CR4, EFER, MEMORY, Machine, random_registers
from reference.memory import Memory
from reference.mmu import Mmu, Result
from reference.processors import config_of

KINDS = ("load", "store", "fetch")
PCIDE, NXE = 1 << 17, 1 << 11
LIKELY_BITS = (0, 1, 2, 5, 6, 8, 9, 63, 7, 12, 13, 59)


class Step(NamedTuple):
    """An operation and three numbers that choose its operands; any numbers do."""

    op: str
    a: int
    b: int
    c: int


def random_step(rng: Random) -> Step:
    return Step(rng.choice(WEIGHTED), rng.randrange(1 << 16), rng.randrange(1 << 16), rng.randrange(1 << 16))


class Duel:
    """Two MMUs with equal memories."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.memory = vmem.PhysicalMemory(MEMORY)
        self.model_memory = Memory(MEMORY)
        for at, word in machine.words.items():
            self._store(at, word)
        self.mmu = vmem.Mmu(self.memory, machine.cpu)
        self.model = Mmu(config_of(machine.cpu), self.model_memory)
        self._set(cr0=CR0, cr4=CR4 | machine.la57, efer=EFER | NXE, cr3=machine.roots[0], cpl=3)
        self._set_stage(machine.stages[0])
        self.edited: list[int] = []

    def run(self, steps: Iterable[Step]) -> None:
        for number, step in enumerate(steps):
            try:
                OPERATIONS[step.op](self, step.a, step.b, step.c)
                self.compare_counters()
                if number % 16 == 15:
                    self.compare_tables()
            except AssertionError as error:
                raise AssertionError(f"step {number}, {step}: {error}") from error
        self.compare_memory()

    def compare_counters(self) -> None:
        theirs = {name: value for name, value in self.mmu.counters().items() if value or name in NAMES}
        ours = dict(self.model.counters)
        assert theirs == ours, {
            name: (theirs.get(name), ours.get(name))
            for name in theirs | ours
            if theirs.get(name) != ours.get(name)
        }

    def compare_tables(self) -> None:
        """The entries that there are, which is quick."""
        ours = self.model_memory.words
        theirs = self.memory.array.view(np.uint64)[np.fromiter(ours, np.int64) // 8]
        assert theirs.tolist() == list(ours.values()), self.compare_memory()

    def compare_memory(self) -> None:
        """All of it."""
        words = self.memory.array.view(np.uint64)
        theirs = {8 * int(at): int(words[at]) for at in np.flatnonzero(words)}
        ours = {at: word for at, word in self.model_memory.words.items() if word}
        assert theirs == ours, [
            (hex(at), hex(theirs.get(at, 0)), hex(ours.get(at, 0)))
            for at in theirs | ours
            if theirs.get(at) != ours.get(at)
        ][:8]

    def access(self, address: int, kind: str) -> None:
        self._compare_results(address, self.mmu.access(address, kind), self.model.access(address, kind))

    def probe(self, address: int, kind: str) -> None:
        self._compare_results(address, self.mmu.probe(address, kind), self.model.probe(address, kind))

    def batch(self, addresses: list[int], kinds: list[int]) -> None:
        theirs = self.mmu.access_batch(np.array(addresses, np.uint64), np.array(kinds, np.uint8))
        results = [
            self.model.access(address, KINDS[kind]) for address, kind in zip(addresses, kinds, strict=True)
        ]
        assert theirs == sum(result.fault is not None for result in results)

    def address(self, a: int, b: int) -> int:
        """One of the machine's, mostly of the first few, at some offset; sometimes a neighbour."""
        machine = self.machine
        root = self.model.state.cr3 & ~0xFFF if a & 0x7000 else machine.roots[a % len(machine.roots)]
        known = machine.addresses[root]
        address = known[a % (len(known) if a & 0xC000 == 0 else 5)]
        if b % 128 == 0:
            return (address ^ 1 << 40 + a % 24) & (1 << 64) - 1
        if b % 16 == 0:
            address ^= (b >> 4 & 7) << 12 + 9 * (b >> 7 & 1)
        return address & ~0xFFF | b & 0xFFF

    def _compare_results(self, address: int, theirs: vmem._core.AccessResult, ours: Result) -> None:
        seen, expected = _outcome(theirs), _expected(ours, address)
        assert seen == expected, f"vmem {seen}, model {expected}"

    def _store(self, at: int, word: int) -> None:
        self.memory.write(at, word.to_bytes(8, "little"))
        self.model_memory.write(at, word)

    def _set(self, **registers: int | bool) -> None:
        self.mmu.set_state(**registers)  # type: ignore[arg-type]
        self.model.set_state(**registers)

    def _set_stage(self, registers: dict[str, int]) -> None:
        self.mmu.set_state(**registers)  # type: ignore[arg-type]
        self.model.set_state(**{"eptp": 0, "ncr3": 0, **registers})

    def _both(self, operate: Callable[[vmem.Mmu | Mmu], object]) -> None:
        theirs, ours = operate(self.mmu), operate(self.model)
        assert theirs == ours


def _outcome(result: vmem._core.AccessResult) -> dict[str, object]:
    fault = result.fault
    if fault is None:
        return {"pa": hex(result.pa), "page_size": result.page_size}
    return {
        "kind": fault.kind,
        "vector": fault.vector,
        "address": hex(fault.address),
        "error_code": hex(fault.error_code),
        "qualification": hex(fault.ept_qualification),
        "gpa": hex(fault.gpa),
        "level": fault.level,
        "entry": hex(fault.entry),
    }


def _expected(result: Result, address: int) -> dict[str, object]:
    fault = result.fault
    if fault is None:
        return {"pa": hex(result.pa), "page_size": result.page_size}
    return {
        "kind": fault.kind,
        "vector": fault.vector,
        "address": hex(address),
        "error_code": hex(fault.error_code),
        "qualification": hex(fault.qualification),
        "gpa": hex(fault.gpa),
        "level": fault.level,
        "entry": hex(fault.entry),
    }


def _access(duel: Duel, a: int, b: int, c: int) -> None:
    duel.access(duel.address(a, b), KINDS[c % 3])


def _probe(duel: Duel, a: int, b: int, c: int) -> None:
    duel.probe(duel.address(a, b), KINDS[c % 3])


def _batch(duel: Duel, a: int, b: int, c: int) -> None:
    rng = Random(a << 32 | b << 16 | c)
    few = [duel.address(rng.randrange(1 << 16), rng.randrange(1 << 16)) for _ in range(1 + a % 5)]
    chosen = [rng.choice(few) for _ in range(4 + b % 24)]
    duel.batch(chosen, [rng.choice((0, 0, 1, 2)) for _ in chosen])


def _registers(duel: Duel, a: int, b: int, c: int) -> None:
    registers = random_registers(Random(a << 16 | b))
    registers["cr4"] |= duel.machine.la57
    duel._set(**registers)


def _vpid(duel: Duel, a: int, b: int, c: int) -> None:
    duel._set(vpid=(0, 1, 2)[a % 3])


def _stage(duel: Duel, a: int, b: int, c: int) -> None:
    """Rarely the last one: no second stage, where tables are not where they think they are."""
    stages = duel.machine.stages if b % 8 == 0 else duel.machine.stages[:-1] or duel.machine.stages
    duel._set_stage(stages[a % len(stages)])


def _cr3(duel: Duel, a: int, b: int, c: int) -> int:
    return duel.machine.roots[a % len(duel.machine.roots)] | (0, 1, 2, 0x18)[b % 4]


def _set_cr3(duel: Duel, a: int, b: int, c: int) -> None:
    duel._set(cr3=_cr3(duel, a, b, c))


def _mov_cr3(duel: Duel, a: int, b: int, c: int) -> None:
    value = _cr3(duel, a, b, c) | (1 << 63 if c & 1 else 0)
    duel._both(lambda mmu: mmu.mov_cr3(value))


def _mov_cr4(duel: Duel, a: int, b: int, c: int) -> None:
    old = duel.model.state.cr4
    value = old ^ (1 << (7, 20, 17, 21, 22)[a % 5]) ^ (1 << 20 if b % 4 == 0 else 0)
    if value & ~old & PCIDE and duel.model.state.cr3 & 0xFFF:
        return  # the instruction would fault: nobody's TLB is concerned
    duel._both(lambda mmu: mmu.mov_cr4(value))


def _invlpg(duel: Duel, a: int, b: int, c: int) -> None:
    duel._both(lambda mmu: mmu.invlpg(duel.address(a, b)))


def _invpcid(duel: Duel, a: int, b: int, c: int) -> None:
    duel._both(lambda mmu: mmu.invpcid(c % 4, (0, 1, 2, 0x18)[c // 4 % 4], duel.address(a, b)))


def _invvpid(duel: Duel, a: int, b: int, c: int) -> None:
    duel._both(lambda mmu: mmu.invvpid(c % 4, c // 4 % 3, duel.address(a, b)))


def _invept(duel: Duel, a: int, b: int, c: int) -> None:
    stage = duel.machine.stages[a % len(duel.machine.stages)]
    root = stage.get("eptp", stage.get("ncr3", 0))
    duel._both(lambda mmu: mmu.invept(1 + b % 2, root))


def _flush(duel: Duel, a: int, b: int, c: int) -> None:
    duel._both(lambda mmu: mmu.flush())


def _edit(duel: Duel, a: int, b: int, c: int) -> None:
    """A table entry changes, or is what it was at first again, and nobody is told."""
    if duel.edited and c % 3:
        at = duel.edited.pop(a % len(duel.edited))
        duel._store(at, duel.machine.words[at])
        return
    at = duel.machine.entries[a % len(duel.machine.entries)]
    bit = b // 2 % 64 if b % 2 else LIKELY_BITS[b // 2 % len(LIKELY_BITS)]
    duel._store(at, duel.model_memory.words[at] ^ 1 << bit)
    duel.edited.append(at)


def _swap(duel: Duel, a: int, b: int, c: int) -> None:
    """Two entries change places."""
    entries = duel.machine.entries
    first, second = entries[a % len(entries)], entries[b % len(entries)]
    words = duel.model_memory.words
    one, other = words[first], words[second]
    duel._store(first, other)
    duel._store(second, one)
    duel.edited += [first, second]


OPERATIONS: dict[str, Callable[[Duel, int, int, int], object]] = {
    "access": _access,
    "batch": _batch,
    "probe": _probe,
    "edit": _edit,
    "registers": _registers,
    "mov_cr3": _mov_cr3,
    "invlpg": _invlpg,
    "stage": _stage,
    "vpid": _vpid,
    "set_cr3": _set_cr3,
    "mov_cr4": _mov_cr4,
    "invpcid": _invpcid,
    "invvpid": _invvpid,
    "invept": _invept,
    "swap": _swap,
    "flush": _flush,
}
WEIGHTS = {
    "access": 40,
    "batch": 10,
    "probe": 8,
    "edit": 6,
    "registers": 6,
    "mov_cr3": 4,
    "invlpg": 4,
    "stage": 2,
    "vpid": 2,
    "invpcid": 2,
    "invvpid": 2,
}
WEIGHTED = tuple(op for op in OPERATIONS for _ in range(WEIGHTS.get(op, 1)))
