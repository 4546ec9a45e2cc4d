"""What machine code does is counted exactly: closed forms of hand-assembled programs, in every mode.

After each program stands SYSCALL, so that it ends; its fetch is in the counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import unicorn
import unicorn.x86_const

import vmem
from vmem import _core
from vmem.integrations.unicorn import Cpu

CODE, DATA, OTHER = 0x400000, 0x10000, 0x20000
SYSCALL = bytes.fromhex("0f05")
LOOP = bytes.fromhex("480107 48ffc9 75f8")  # again: add [rdi], rax; dec rcx; jnz again

MODES: dict[str, dict[str, Any]] = {
    "native": {"mmu": "native"},
    "nested": {"mmu": "nested"},
    "shadow": {"mmu": "shadow"},
    "vtlb": {"mmu": "shadow", "sync": "vtlb"},
    "software-tlb": {"mmu": "software-tlb"},
}


class Bench:
    """One process with a page of code that goes on in a second one, and two areas of data."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.host = vmem.Hypervisor("64MiB")
        self.vm = self.host.create_vm("vm", memory="16MiB", **options)
        self.process = self.vm.guest.spawn("code")
        for at in (CODE, DATA, OTHER):
            self.process.mmap("64KiB", at=at, prot="rwx" if at == CODE else "rw")
        self.cpu = Cpu(self.process)

    def run(self, code: bytes, *, at: int = CODE, slices: int = 1 << 20, **registers: int) -> dict[str, int]:
        """Runs `code` to its SYSCALL; what changed in the VM's counters, and `instructions`."""
        self.process.write(at, code + SYSCALL)
        self.cpu["rip"] = at
        for name, value in registers.items():
            self.cpu[name] = value
        before, began = self.vm.counters(), self.cpu.instructions
        while (stop := self.cpu.run(slices)).reason == "instructions":
            pass
        assert stop.reason == "syscall"
        after = self.vm.counters()
        made = {name: after[name] - before[name] for name in ("fetches", "loads", "stores")}
        assert sum(made.values()) == after["accesses"] - before["accesses"]
        assert made["fetches"] + made["loads"] + made["stores"] == sum(
            after[name] - before[name] for name in ("l1i_hits", "l1d_hits", "l2_hits", "tlb_misses")
        )
        return {"instructions": self.cpu.instructions - began, **made}


@pytest.fixture(params=MODES)
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(MODES[request.param])


def counts(instructions: int, fetches: int, loads: int, stores: int) -> dict[str, int]:
    return {"instructions": instructions, "fetches": fetches, "loads": loads, "stores": stores}


@pytest.mark.parametrize("slices", [1, 7, 1 << 20])
def test_a_loop(bench: Bench, slices: int) -> None:
    """n times three instructions, one of which loads and stores; the same in one slice and in many."""
    n = 1000
    made = bench.run(LOOP, slices=slices, rdi=DATA, rcx=n, rax=3)
    assert made == counts(3 * n + 1, 3 * n + 1, n, n)
    assert bench.process.read(DATA, 8) == (3 * n).to_bytes(8, "little")


class Case(NamedTuple):
    code: str
    registers: dict[str, int]
    instructions: int
    fetches: int
    loads: int
    stores: int


CASES = {
    "load, store": Case("488b07 488906", {}, 2, 2, 1, 1),
    "at any alignment": Case("488b4703 66894705", {}, 2, 2, 1, 1),
    "a load in two pages": Case("488b07", {"rdi": DATA + 4093}, 1, 1, 2, 0),
    "a store in two pages": Case("488907", {"rdi": DATA + 4089}, 1, 1, 0, 2),
    "up to the end of a page": Case("488907", {"rdi": DATA + 4088}, 1, 1, 0, 1),
    "both, in two pages": Case("480107", {"rdi": DATA + 4095}, 1, 1, 2, 2),
    "16 bytes": Case("f30f6f07 f30f7f06", {}, 2, 2, 1, 1),
    "16 bytes, split in the middle": Case("f30f6f07 f30f7f07", {"rdi": DATA + 4088}, 2, 2, 2, 2),
    "16 bytes, split before the middle": Case("f30f6f07 f30f7f07", {"rdi": DATA + 4094}, 2, 2, 2, 2),
    "16 bytes, split behind the middle": Case("f30f6f07 f30f7f07", {"rdi": DATA + 4083}, 2, 2, 2, 2),
    "10 bytes of x87": Case("db2f db3f", {}, 2, 2, 1, 1),
    "lock cmpxchg16b": Case("f0480fc70f", {}, 1, 1, 1, 1),
    "lock xadd": Case("f0480fc107", {}, 1, 1, 1, 1),
    "push, pop": Case("50 58", {"rsp": DATA + 256}, 2, 2, 1, 1),
    "call, ret": Case("e802000000 eb01 c3", {"rsp": DATA + 256}, 3, 3, 1, 1),
    "no access by lea": Case("488d07", {}, 1, 1, 0, 0),
    "rep movsb": Case("f3a4", {"rcx": 100}, 1, 1, 100, 100),
    "rep movsb of nothing": Case("f3a4", {"rcx": 0}, 1, 1, 0, 0),
    "rep movsq over two pages": Case("f348a5", {"rsi": OTHER + 4076, "rcx": 4}, 1, 1, 5, 4),
    "rep stosq": Case("f348ab", {"rcx": 33}, 1, 1, 0, 33),
    "repe cmpsb": Case("f3a6", {"rsi": OTHER + 8, "rcx": 12}, 1, 1, 24, 0),
    "cmpsq of neighbours": Case("48a7", {"rdi": OTHER + 8, "rsi": OTHER}, 1, 1, 2, 0),
    "two repeated ones": Case("f3aa b903000000 f3aa", {"rcx": 3}, 3, 3, 0, 6),
}


@pytest.mark.parametrize("slices", [1, 1 << 20])
@pytest.mark.parametrize("name", CASES)
def test_one_instruction(name: str, slices: int) -> None:
    case = CASES[name]
    bench = Bench(MODES["nested"])
    made = bench.run(
        bytes.fromhex(case.code), slices=slices, **({"rdi": DATA, "rsi": OTHER, "rcx": 0} | case.registers)
    )
    expected = counts(case.instructions + 1, case.fetches + 1, case.loads, case.stores)
    assert made == expected


def test_an_instruction_in_two_pages_is_fetched_twice(bench: Bench) -> None:
    code = bytes.fromhex("48b8 1122334455667788")  # mov rax, 0x8877665544332211
    for offset in range(1, 10):
        assert bench.run(code, at=CODE + 4096 - offset) == counts(2, 3, 0, 0)
        assert bench.cpu["rax"] == 0x8877665544332211
    assert bench.run(code, at=CODE + 4096 - 10) == counts(2, 2, 0, 0)
    assert bench.run(b"\x90" * 20, at=CODE + 4096 - 10) == counts(21, 21, 0, 0)


def test_code_that_is_only_translated_is_not_fetched(bench: Bench) -> None:
    """Emulators read ahead: here beyond a load that faults, into a page that nobody has touched."""
    bench.process.write(CODE + 4096 - 8, bytes.fromhex("488b07 9090909090"))  # mov rax, [rdi]; five nops
    resident = bench.process.resident
    bench.cpu["rip"], bench.cpu["rdi"] = CODE + 4096 - 8, 0x50000
    stop = bench.cpu.run()
    assert (stop.reason, stop.address, stop.access) == ("segfault", 0x50000, "load")
    assert bench.cpu["rip"] == CODE + 4096 - 8
    assert bench.process.resident == resident
    assert bench.cpu.accesses == {"fetches": 1, "loads": 1, "stores": 0}


@pytest.mark.parametrize("slices", [1, 1 << 20])
def test_code_that_changes_itself(bench: Bench, slices: int) -> None:
    """The next instruction, already translated, is overwritten: UD2s become NOPs."""
    made = bench.run(bytes.fromhex("c705 00000000 90909090 0f0b 0f0b"), slices=slices)
    assert made == counts(6, 6, 0, 1)


def test_code_that_the_kernel_replaces_between_slices(bench: Bench) -> None:
    for value in (1, 2, 3):
        assert bench.run(bytes([0xB8, value, 0, 0, 0])) == counts(2, 2, 0, 0)  # mov eax, value
        assert bench.cpu["rax"] == value
    bench.process.munmap(CODE, "64KiB")
    bench.process.mmap("64KiB", at=CODE, prot="rwx")
    bench.run(b"\x90")
    assert bench.cpu["rax"] == 3


def test_code_that_keeps_changing_finds_room() -> None:
    """There are 16,384 places for copies of code; each change takes another."""
    bench = Bench(MODES["shadow"])
    # again: inc dword [rip+1]; mov eax, 0; dec rcx; jnz again
    made = bench.run(bytes.fromhex("ff05 01000000 b8 00000000 48ffc9 75f0"), rcx=17_000)
    assert made == counts(4 * 17_000 + 1, 4 * 17_000 + 1, 17_000, 17_000)
    assert bench.cpu["rax"] == 17_000


def test_an_instruction_in_two_pages_that_keeps_changing(bench: Bench) -> None:
    """The second half alone is overwritten: inc dword [rip+1]; mov eax, 0; dec rcx; jnz to the first."""
    code = bytes.fromhex("ff05 01000000 b8 00000000 48ffc9 75f0")
    for offset in (7, 8, 9):
        made = bench.run(code, at=CODE + 4096 - offset, rcx=50)
        # A store whose four bytes lie in two pages is two, and so is the load before it.
        parts = 1 + (offset > 7)
        assert made == counts(201, 201 + 50, 50 * parts, 50 * parts)
        assert bench.cpu["rax"] == 50


def test_page_tables_of_five_levels_are_refused() -> None:
    with pytest.raises(vmem.ConfigError, match="page tables have 5 levels: accepted are 4"):
        Bench({"cpu": vmem.Cpu.preset("skylake-sp").replace(guest_levels=5)})


def test_constants_are_those_of_the_package() -> None:
    for name, value in _core.UNICORN_ABI.items():
        home = unicorn.x86_const if name.startswith("UC_X86") else unicorn.unicorn_const
        assert getattr(home, name) == value, name


def test_a_very_long_repetition_can_be_interrupted() -> None:
    """A slice ends in the middle of it; it goes on in the next, and was fetched once."""
    bench, n = Bench(MODES["nested"]), 5_000_000
    bench.process.mmap("8MiB", at=0x1000000)
    bench.process.write(CODE, bytes.fromhex("f3aa") + SYSCALL)  # rep stosb
    bench.cpu["rip"], bench.cpu["rdi"], bench.cpu["rcx"] = CODE, 0x1000000, n
    assert bench.cpu.run().reason == "instructions"
    assert (bench.cpu["rip"], bench.cpu.instructions) == (CODE, 1) and 0 < bench.cpu["rcx"] < n
    assert bench.cpu.run().reason == "syscall"
    assert bench.cpu.accesses == {"fetches": 2, "loads": 0, "stores": n}
