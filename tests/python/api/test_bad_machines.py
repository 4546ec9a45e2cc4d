"""Machines that cannot be: the error says what came and what is accepted, and nothing has been made."""

from __future__ import annotations

import re
from typing import Any

import pytest

import vmem
from vmem import ConfigError, Cpu, Hypervisor, Mmu, PhysicalMemory, Psc, Tlb

SIZES = [
    (-1, "-1 is negative"),
    (0, "0 bytes: accepted is a positive multiple of 4096"),
    (4097, "4097 bytes: accepted is a positive multiple of 4096"),
    ("5000", "5000 bytes: accepted is a positive multiple of 4096"),
    ("1KiB", "1024 bytes: accepted is a positive multiple of 4096"),
    ("17TiB", "18691697672192 bytes: accepted is .*16 TiB"),
    (2**64, "18446744073709551616 is too much; accepted is less than 2**64 bytes"),
    ("99999999TiB", "'99999999TiB' is too much; accepted is less than 2**64 bytes"),
    (1.5, "1.5 is not a size; accepted are bytes as int, or a string such as '512MiB'"),
    (True, "True is not a size; accepted are bytes as int"),
    (None, "None is not a size; accepted are bytes as int"),
    ("", "'' is not a size; accepted is a number with B, KiB, MiB, GiB or TiB"),
    ("MiB", "'MiB' is not a size; accepted is a number with B, KiB, MiB, GiB or TiB"),
    ("-1GiB", "'-1GiB' is not a size; accepted is a number with B, KiB, MiB, GiB or TiB"),
    ("1 parsec", "'1 parsec' is not a size; accepted is a number with B, KiB, MiB, GiB or TiB"),
    ("0.3B", "'0.3B' is not a whole number of bytes"),
]


def pattern(message: str) -> str:
    """`message` as a regular expression in which only .* is special."""
    return ".*".join(re.escape(part) for part in message.split(".*"))


@pytest.mark.parametrize(("size", "message"), SIZES)
def test_size_of_a_host(size: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=pattern(message)):
        Hypervisor(size)


@pytest.mark.parametrize(("size", "message"), SIZES)
def test_size_of_bare_memory(size: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=pattern(message)):
        PhysicalMemory(size)


@pytest.mark.parametrize(("size", "message"), SIZES)
def test_size_of_a_vm(size: Any, message: str, host: Hypervisor) -> None:
    before = host.meminfo()
    with pytest.raises(ConfigError, match=pattern(message)):
        host.create_vm("vm", memory=size)
    assert host.meminfo() == before
    assert dict(host.vms) == {}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"memory": "64KiB"}, "65536 bytes cannot boot: its kernel needs at least 1048576"),
        ({"memory": "2GiB", "mmu": "native"}, "2147483648 bytes does not fit into the host's 1073741824"),
        ({"mmu": "paravirtual"}, "mmu: 'paravirtual'; accepted are native, nested"),
        ({"mmu": 3}, "mmu: 3; accepted are native, nested"),
        ({"mmu": None}, "mmu: None; accepted are native, nested"),
        ({"vcpus": 0}, "vcpus: 0; accepted is an int from 1 to 255"),
        ({"vcpus": -1}, "vcpus: -1; accepted is an int from 1 to 255"),
        ({"vcpus": 256}, "vcpus: 256; accepted is an int from 1 to 255"),
        ({"vcpus": 2**70}, f"vcpus: {2**70}; accepted is an int from 1 to 255"),
        ({"vcpus": 2.0}, "vcpus: 2.0; accepted is an int from 1 to 255"),
        ({"vcpus": "2"}, "vcpus: '2'; accepted is an int from 1 to 255"),
        ({"backing": "8KiB"}, "backing: '8KiB'; accepted are 4KiB, 2MiB, 1GiB, auto"),
        ({"backing": 4096}, "backing: 4096; accepted are 4KiB, 2MiB, 1GiB, auto"),
        ({"backing": []}, "backing: []; accepted are 4KiB, 2MiB, 1GiB, auto"),
        ({"cpu": "pentium"}, "unknown CPU 'pentium', known are skylake-sp, .*zen4"),
        ({"cpu": 4}, "cpu: 4; accepted are a vmem.Cpu or the name of a preset: skylake-sp"),
    ],
)
def test_shape_of_a_vm(wrong: dict[str, Any], message: str, host: Hypervisor) -> None:
    before = host.meminfo()
    with pytest.raises(ConfigError, match=pattern(message)):
        host.create_vm("vm", **{"memory": "64MiB"} | wrong)
    assert host.meminfo() == before
    assert dict(host.vms) == {}
    host.create_vm("vm", memory="64MiB")
    host.check()


def test_names_of_vms(host: Hypervisor) -> None:
    host.create_vm("web", memory="16MiB")
    with pytest.raises(ConfigError, match="VM name: 'web' is taken; this host has web"):
        host.create_vm("web", memory="16MiB")
    for name in ("", 5, None):
        with pytest.raises(ConfigError, match=f"VM name: {name!r}; accepted is a non-empty string"):
            host.create_vm(name, memory="16MiB")  # type: ignore[arg-type]
    assert list(host.vms) == ["web"]


def test_no_room_for_a_native_machine(host: Hypervisor) -> None:
    host.create_vm("first", memory="768MiB", mmu="native")
    with pytest.raises(vmem.OutOfMemory, match="'second': no 536870912 contiguous free bytes left"):
        host.create_vm("second", memory="512MiB", mmu="native")
    host.create_vm("third", memory="512MiB", mmu="nested")
    host.check()


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "1", None, True])
def test_seed(seed: Any) -> None:
    with pytest.raises(
        ConfigError, match=pattern(f"seed: {seed!r}; accepted is an int from 0 to {2**64 - 1}")
    ):
        Hypervisor("16MiB", seed=seed)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("l1d", Tlb(0), "Tlb entries: 0; accepted is an int from 1 to 4194304"),
        ("l1d", Tlb(-64, 4), "Tlb entries: -64; accepted is an int from 1 to"),
        ("l1d", Tlb(2**30), "Tlb entries: 1073741824; accepted is an int from 1 to 4194304"),
        ("l1d", Tlb(64, 0), "Tlb ways: 0; accepted is an int from 1 to 64"),
        ("l1d", Tlb(64, 128), "Tlb ways: 128; accepted is an int from 1 to 64"),
        ("l1d", Tlb(64, 5), "64 entries in 5 ways: entries must be a positive multiple of ways"),
        ("l1d", Tlb(96, 6, "plru"), "power of two of ways up to 64, not 6"),
        ("l1d", Tlb(64, 4, "clock"), "Tlb policy: 'clock'; accepted are lru, plru, fifo, random"),  # type: ignore[arg-type]
        ("l1d", Tlb(64, 4, pages=("3KiB",)), "Tlb pages: '3KiB'; accepted are 4KiB, 2MiB, 1GiB"),
        ("l1d", Tlb(64, 4, pages=()), "l1d: a TLB array must hold at least one of 4KiB, 2MiB, 1GiB"),
        ("l1d", Tlb(64, 4, seed=-1), "Tlb seed: -1; accepted is an int from 0 to"),
        ("l1d", (Tlb(64, 4), Tlb(8, 4)), "l1d: two arrays hold the same page size"),
        ("l1d", None, "needs an L1 instruction and an L1 data TLB"),
        ("l1i", (), "needs an L1 instruction and an L1 data TLB"),
        ("l1i", 64, "l1i: 64; accepted are a vmem.Tlb, or several in a tuple or list"),
        ("l2", ["big"], "l2: ['big']; accepted are a vmem.Tlb, or several in a tuple or list"),
        ("psc", Tlb(4), "psc: Tlb(.*; accepted are a vmem.Psc and None"),
        ("host_psc", Psc(pde=4), "Psc pde: 4; accepted are a vmem.Tlb and None"),  # type: ignore[arg-type]
        ("psc", Psc(pde=Tlb(3, 2)), "3 entries in 2 ways: entries must be a positive multiple of ways"),
        ("nested_tlb", 16, "nested_tlb: 16; accepted are a vmem.Tlb and None"),
        ("nested_tlb", Tlb(7, 2), "7 entries in 2 ways: entries must be a positive multiple of ways"),
        ("guest_levels", 3, "guest_levels: 3; accepted is an int from 4 to 5"),
        ("host_levels", "4", "host_levels: '4'; accepted is an int from 4 to 5"),
        ("nested_format", "rvi", "nested_format: 'rvi'; accepted are ept, npt"),
        ("maxphyaddr", 31, "maxphyaddr: 31; accepted is an int from 32 to 52"),
        ("maxphyaddr", 53, "maxphyaddr: 53; accepted is an int from 32 to 52"),
        ("one_gib_pages", 1, "one_gib_pages: 1; accepted are True and False"),
        ("name", None, "Cpu name: None; accepted is a string"),
    ],
)
def test_processors(field: str, value: Any, message: str, host: Hypervisor) -> None:
    cpu = Cpu().replace(**{field: value})
    with pytest.raises(ConfigError, match=pattern(message)):
        host.create_vm("vm", memory="16MiB", cpu=cpu)
    with pytest.raises(ConfigError, match=pattern(message)):
        Mmu(PhysicalMemory("1MiB"), cpu)
    assert dict(host.vms) == {}


def test_fields_of_a_processor() -> None:
    with pytest.raises(ConfigError, match=r"has no field 'l3'; it has .*l1d, l1i, l2"):
        Cpu().replace(l3=Tlb(8))
    with pytest.raises(ConfigError, match=r"unknown CPU 'zen9', known are .*zen4"):
        Cpu.preset("zen9")


def test_costs(host: Hypervisor) -> None:
    before = host.costs
    with pytest.raises(ConfigError, match=r"unknown cost 'sleep', known are access, .*exit"):
        host.set_cost("sleep", 1)
    for cycles in (-1, 1.5, "9", 2**63):
        with pytest.raises(
            ConfigError, match=pattern(f"cost 'exit': {cycles!r}; accepted is an int from 0 to")
        ):
            host.set_cost("exit", cycles)  # type: ignore[arg-type]
    assert host.costs == before


def test_bare_registers() -> None:
    mmu = Mmu(PhysicalMemory("1MiB"))
    for wrong, message in [
        ({"cr3": -1}, "-1: accepted is an int from 0 to 2**64 - 1"),
        ({"cr3": 2**64}, f"{2**64}: accepted is an int from 0 to 2**64 - 1"),
        ({"cpl": 4}, "cpl is 4, accepted is 0 to 3"),
        ({"pkru": 2**32}, "pkru is 4294967296, accepted is 0 to 4294967295"),
        ({"vpid": 65536}, "vpid is 65536, accepted is 0 to 65535"),
        ({"cr0": 0}, "only long mode is modelled"),
        ({"eptp": 0x1000 | 2 << 3}, "EPTP 0x1010 asks for 3 levels, accepted are 4 and 5"),
        ({"eptp": 0x1018, "ncr3": 0x1000}, "eptp and ncr3: give one second stage, not two"),
    ]:
        with pytest.raises(ConfigError, match=pattern(message)):
            mmu.set_state(**wrong)
    for call, message in [
        (lambda: mmu.access(-1), "-1: accepted is an int from 0 to 2**64 - 1"),
        (lambda: mmu.access(0, "read"), "unknown access 'read', accepted are load, store, fetch"),
        (lambda: mmu.probe(2**64), f"{2**64}: accepted is an int from 0 to 2**64 - 1"),
        (lambda: mmu.invpcid(4), "INVPCID type is 4, accepted is 0 to 3"),
        (lambda: mmu.invpcid(0, 4096), "pcid is 4096, accepted is 0 to 4095"),
        (lambda: mmu.invvpid(4), "INVVPID type is 4, accepted is 0 to 3"),
        (lambda: mmu.invept(0), "INVEPT type 0, accepted are 1"),
    ]:
        with pytest.raises(ConfigError, match=pattern(message)):
            call()
    assert set(mmu.counters().values()) == {0}


def test_bare_memory() -> None:
    memory = PhysicalMemory("64KiB")
    memory.write(0, b"kept")
    for call, message in [
        (lambda: memory.read(-1, 1), "-1: accepted is an int from 0 to 2**64 - 1"),
        (lambda: memory.read(0, 65537), "0x0 + 65537 bytes lies outside the memory of 0x10000 bytes"),
        (lambda: memory.read(65535, 2), "0xffff + 2 bytes lies outside the memory of 0x10000 bytes"),
        (lambda: memory.read(2**64 - 1, 2), "0xffffffffffffffff + 2 bytes lies outside"),
        (lambda: memory.write(65533, b"1234"), "0xfffd + 4 bytes lies outside the memory of 0x10000 bytes"),
        (lambda: memory.write(0, "text"), "data: str; accepted is a bytes-like object"),
        (lambda: memory.write(0, memoryview(b"12345678")[::2]), "data: accepted is a contiguous buffer"),
    ]:
        with pytest.raises(ConfigError, match=pattern(message)):
            call()
    assert memory.read(0, 65536) == b"kept" + bytes(65532)
