"""Processors of one's own through the C interface, and what it refuses of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vmem
from vmem.cpu import Psc, Tlb

from .chost import CHost

pytest.importorskip("cffi")
MIB = 1 << 20
PAGES = {"4KiB": 1, "2MiB": 2, "1GiB": 4}
POLICIES = ("lru", "plru", "fifo", "random")

OWN = vmem.Cpu(
    l1d=(Tlb(16, 4, "plru", ("4KiB",)), Tlb(8, None, "lru", ("2MiB", "1GiB"))),
    l1i=Tlb(32, 4, "fifo"),
    l2=Tlb(96, 6, "random", seed=9),
    psc=Psc(pml4e=Tlb(2), pdpte=Tlb(4, 2), pde=Tlb(8, 4)),
    host_psc=Psc(pde=Tlb(8)),
    nested_tlb=Tlb(16, 4),
    guest_levels=5,
    host_levels=5,
    maxphyaddr=40,
    one_gib_pages=False,
    execute_only=False,
)


def cache(tlb: Tlb | None, *, pages: bool = True) -> dict[str, int]:
    if tlb is None:
        return {}
    return {
        "entries": tlb.entries,
        "ways": tlb.ways or 0,
        "replacement": POLICIES.index(tlb.policy),
        "pages": sum(PAGES[page] for page in tlb.pages) if pages else 0,
        "seed": tlb.seed,
    }


def members(cpu: vmem.Cpu) -> dict[str, Any]:
    """What a vmem_cpu_config of it has."""

    def level(of: Any) -> list[dict[str, int]]:
        return [cache(tlb) for tlb in ([] if of is None else [of] if isinstance(of, Tlb) else of)]

    def psc(of: Psc | None) -> dict[str, dict[str, int]]:
        fields = dataclasses.fields(Psc)
        return {field.name: cache(getattr(of or Psc(), field.name), pages=False) for field in fields}

    return {
        **{name: level(getattr(cpu, name)) for name in ("l1d", "l1i", "l2")},
        **{name: psc(getattr(cpu, name)) for name in ("psc", "host_psc")},
        "nested_tlb": cache(cpu.nested_tlb, pages=False),
        **{name: getattr(cpu, name) for name in ("guest_levels", "host_levels", "maxphyaddr")},
        "npt": int(cpu.nested_format == "npt"),
        "no_one_gib_pages": int(not cpu.one_gib_pages),
        "no_execute_only": int(not cpu.execute_only),
    }


def in_c(c: CHost, cpu: vmem.Cpu) -> Any:
    size = c.ffi.sizeof("vmem_cpu_config")
    return c.ffi.new("vmem_cpu_config *", {"size": size, **members(cpu)})


def some_references(start: int) -> tuple[Any, Any]:
    random = np.random.default_rng(3)
    addresses = random.integers(0, 24 * MIB, 40_000, dtype=np.uint64) + np.uint64(start)
    return addresses, random.choice(np.array([0, 1, 2], np.uint8), 40_000)


def counted_in_c(c: CHost, vm: int) -> dict[str, int]:
    process = c.spawn(vm)
    request = c.structure("vmem_map_request", length=24 * MIB, protection=7)
    start = c.ask("uint64_t", "vmem_process_mmap", vm, 0, process, request)
    addresses, kinds = some_references(start)
    where = (c.ffi.from_buffer("uint64_t[]", addresses), c.ffi.from_buffer("uint8_t[]", kinds))
    run = c.lib.vmem_process_access_batch
    c.check(run(c.host, vm, 0, process, *where, len(kinds), c.ffi.NULL))
    names = vmem.Hypervisor("64MiB").create_vm("vm", memory="32MiB").counters()
    return c.counters(vm, names)


def counted_in_python(vm: vmem.Vm) -> dict[str, int]:
    process = vm.guest.spawn("app")
    process.access(*some_references(process.mmap("24MiB", prot="rwx").start))
    return vm.counters()


@pytest.mark.parametrize("cpu", [OWN, vmem.Cpu(nested_format="npt", l2=None), vmem.Cpu.preset("zen4")])
def test_hosts_and_vms_take_one_of_ones_own(installed: Path, cpu: vmem.Cpu) -> None:
    given = in_c(CHost(memory=64 * MIB), cpu)
    in_host = CHost(memory=128 * MIB, processor=given)
    of_vm = CHost(memory=128 * MIB, cpu=(name := in_host.ffi.new("char[]", b"neoverse-n1")))
    assert of_vm.ffi.string(name)
    expected = counted_in_python(vmem.Hypervisor("128MiB", cpu=cpu).create_vm("vm", memory="64MiB"))
    assert counted_in_c(in_host, in_host.create_vm(memory=64 * MIB)) == expected
    assert counted_in_c(of_vm, of_vm.create_vm(memory=64 * MIB, processor=given)) == expected
    plain = counted_in_python(vmem.Hypervisor("128MiB").create_vm("vm", memory="64MiB"))
    assert expected != plain and expected["tlb_misses"] > 1000


def test_an_mmu_takes_one(installed: Path) -> None:
    from vmem.capi import check, ffi, lib, structure

    c = CHost(memory=64 * MIB)
    cpu = OWN.replace(guest_levels=4)
    config = structure("vmem_mmu_config")
    memory = bytearray(MIB)
    tables = {8192: 12288 | 7, 12288: 16384 | 7, 16384: 20480 | 7}
    tables |= {20480 + 8 * page: page << 12 | 7 for page in range(200)}
    config.memory, config.memory_bytes = ffi.from_buffer(memory), len(memory)
    own = in_c(c, cpu)
    config.processor = own
    config.no_psc = 1  # what the MMU's own members say comes on top
    out = ffi.new("vmem_mmu **")
    check(lib.vmem_mmu_create(config, out))
    mmu = ffi.gc(out[0], lib.vmem_mmu_destroy)
    physical = vmem.PhysicalMemory("1MiB")
    twin = vmem.Mmu(physical, cpu.replace(psc=None, host_psc=None))
    for at, entry in tables.items():
        memory[at : at + 8] = entry.to_bytes(8, "little")
        physical.write(at, entry.to_bytes(8, "little"))
    check(lib.vmem_mmu_mov_cr3(mmu, 8192))
    twin.mov_cr3(8192)
    value = ffi.new("uint64_t *")
    for i in range(3000):
        va = i * 17 % 200 << 12
        check(lib.vmem_mmu_access(mmu, va, i % 2, ffi.NULL))
        assert twin.access(va, ("load", "store")[i % 2]).ok
    for name, expected in twin.counters().items():
        check(lib.vmem_mmu_counter(mmu, name.encode(), value))
        assert value[0] == expected, name
    assert twin.counters()["walks"] > 100


@pytest.mark.parametrize("name", vmem.Cpu.presets())
def test_presets_are_python_s(installed: Path, name: str) -> None:
    from vmem.capi import check, ffi, lib, structure

    config = structure("vmem_cpu_config")
    config.l2[2].entries = 5  # of what stood there before, nothing is left
    check(lib.vmem_cpu_preset(name.encode(), config))
    size = ffi.sizeof("vmem_cpu_config")
    expected = ffi.new("vmem_cpu_config *", {"size": size, **members(vmem.Cpu.preset(name))})
    for given in (config, expected):  # two ways to say fully associative
        psc = [getattr(of, level) for of in (given.psc, given.host_psc) for level in dir(of)]
        for part in [*given.l1d, *given.l1i, *given.l2, *psc, given.nested_tlb]:
            part.ways = 0 if part.ways == part.entries else part.ways
    assert bytes(ffi.buffer(config)) == bytes(ffi.buffer(expected))


def test_presets_are_refused(installed: Path) -> None:
    from vmem.capi import check, ffi, lib, structure

    config = structure("vmem_cpu_config")
    for name, message in ((b"z80", "unknown CPU 'z80'"), (ffi.NULL, "name is NULL")):
        with pytest.raises(vmem.ConfigError, match=message):
            check(lib.vmem_cpu_preset(name, config))
    with pytest.raises(vmem.ConfigError, match="config is NULL"):
        check(lib.vmem_cpu_preset(b"zen3", ffi.NULL))
    config.size -= 1
    with pytest.raises(vmem.ConfigError, match="config->size is 463"):
        check(lib.vmem_cpu_preset(b"zen3", config))


def change(path: str, value: int) -> Callable[[Any], None]:
    def made(cpu: Any) -> None:
        *way, last = path.split(".")
        for step in way:
            cpu = cpu[int(step)] if step.isdigit() else getattr(cpu, step)
        setattr(cpu, last, value)

    return made


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("size", 8, "processor->size is 8"),
        ("size", 5000, "processor->size is 5000"),
        ("maxphyaddr", 31, "maxphyaddr is 31, accepted is 32 to 52"),
        ("maxphyaddr", 2**32 - 1, "maxphyaddr is 4294967295"),
        ("guest_levels", 3, "guest_levels is 3, accepted are 4 and 5"),
        ("host_levels", 6, "host_levels is 6, accepted are 4 and 5"),
        ("reserved", 1, "reserved is 1"),
        ("l1d.0.entries", 0, r"l1d\[0\].entries is 0"),
        ("l1d.0.entries", 2**22 + 4, r"l1d\[0\].entries is 4194308; accepted is up to 4194304"),
        ("l1d.0.ways", 3, r"l1d\[0\]: cache of 16 entries in 3 ways"),
        ("l1d.0.pages", 8, r"l1d\[0\].pages is 8"),
        ("l1d.1.pages", 7, "l1d: two arrays hold the same page size"),
        ("l1i.0.replacement", 4, r"l1i\[0\].replacement is 4"),
        ("l2.0.replacement", 1, r"l2\[0\]: tree-PLRU needs a power of two of ways"),
        ("l2.1.ways", 4, r"l2\[1\].entries is 0"),
        ("psc.pde.ways", 5, "psc.pde: cache of 8 entries in 5 ways"),
        ("host_psc.pml5e.seed", 1, "host_psc.pml5e.entries is 0"),
        ("psc.pdpte.pages", 1, "psc.pdpte.pages is 1; accepted is 0"),
        ("nested_tlb.pages", 1, "nested_tlb.pages is 1; accepted is 0"),
        ("nested_tlb.ways", 32, "nested_tlb: cache of 16 entries in 32 ways"),
    ],
)
def test_what_no_processor_has_is_refused(installed: Path, path: str, value: int, message: str) -> None:
    c = CHost(memory=64 * MIB)
    given = in_c(c, OWN)
    change(path, value)(given)
    with pytest.raises(vmem.ConfigError, match=message):
        CHost(memory=64 * MIB, processor=given)
    with pytest.raises(vmem.ConfigError, match=message):
        c.create_vm(memory=32 * MIB, processor=given)


def test_a_first_level_must_be_there_and_a_name_goes_without_data(installed: Path) -> None:
    c = CHost(memory=64 * MIB)
    given = in_c(c, OWN)
    name = c.ffi.new("char[]", b"zen3")
    with pytest.raises(vmem.ConfigError, match="cpu is 'zen3' and there is a processor, too"):
        CHost(memory=64 * MIB, processor=given, cpu=name)
    c.ffi.memmove(given.l1i, bytes(24), 24)
    with pytest.raises(vmem.ConfigError, match="L1 instruction and an L1 data TLB"):
        CHost(memory=64 * MIB, processor=given)
