"""More promised than there is: who gives, how much, and what is left when nobody can."""

from __future__ import annotations

from typing import Any

import pytest

import vmem

PAGE = 4096
MIB = 1 << 20
MODES: list[dict[str, Any]] = [
    {"mmu": "nested"},
    {"mmu": "nested", "backing": "2MiB"},
    {"mmu": "nested", "cpu": "zen3"},
    *({"mmu": "shadow", "sync": sync} for sync in ("trace", "unsync", "vtlb")),
]
each_mode = pytest.mark.parametrize("options", MODES, ids=lambda o: "-".join(o.values()))
each_policy = pytest.mark.parametrize("victims", ["random", "clock"])


def fill(vm: vmem.Vm, size: int, tag: str) -> tuple[vmem.Process, vmem.Mapping]:
    process = vm.guest.spawn(tag)
    area = process.mmap(size)
    for page in range(size // PAGE):
        process.write(area.start + page * PAGE, f"{tag} {page} ".encode())
    return process, area


def intact(process: vmem.Process, area: vmem.Mapping, tag: str) -> bool:
    expected = [f"{tag} {page} ".encode() for page in range(area.length // PAGE)]
    return expected == [process.read(area.start + i * PAGE, len(data)) for i, data in enumerate(expected)]


@each_mode
@each_policy
def test_vms_of_three_times_the_machine_keep_their_data(options: dict[str, Any], victims: Any) -> None:
    host = vmem.Hypervisor("8MiB", swap="32MiB", reclaim=vmem.HostReclaim(victims=victims))
    vms = [host.create_vm(f"vm{i}", memory="8MiB", **options) for i in range(3)]
    filled = [fill(vm, 5 * MIB, vm.name) for vm in vms]
    assert host.meminfo()["committed"] == 3 * host.meminfo()["total"]
    assert host.meminfo()["swap_used"] > 6 * MIB
    for vm, (process, area) in zip(vms, filled, strict=True):
        assert intact(process, area, vm.name)
        host.check()
    assert not any(vm.is_killed for vm in vms)
    assert host.stat()["swapped_in"] > 1000


@each_mode
def test_memory_goes_visibly_to_a_host_process(options: dict[str, Any]) -> None:
    host = vmem.Hypervisor("16MiB", swap="16MiB")
    vm = host.create_vm("vm", memory="16MiB", reservation="2MiB", **options)
    process, area = fill(vm, 10 * MIB, "vm")
    backup = host.create_process("backup", "10MiB")
    assert host.meminfo()["processes"] == backup.memory == 10 * MIB
    assert vm.resident < 6 * MIB
    assert backup.read(0, 10 * MIB) == bytes(10 * MIB)
    backup.write(PAGE - 3, b"of the host")
    host.check()
    assert intact(process, area, "vm")
    assert backup.read(PAGE - 3, 11) == b"of the host"
    with pytest.raises(vmem.OutOfMemory, match="'backup'"):
        backup.resize("15MiB")
    assert backup.memory == 10 * MIB
    backup.resize(PAGE)
    assert host.meminfo()["processes"] == PAGE
    with pytest.raises(vmem.ConfigError, match="outside"):
        backup.read(PAGE - 3, 11)
    backup.exit()
    assert host.meminfo()["processes"] == 0
    host.check()


def test_what_a_vm_holds_follows_its_shares() -> None:
    host = vmem.Hypervisor("16MiB", swap="64MiB")
    poor = host.create_vm("poor", memory="16MiB", shares=1000)
    rich = host.create_vm("rich", memory="16MiB", shares=3000)
    fill(poor, 12 * MIB, "p")
    fill(rich, 12 * MIB, "r")
    fill(poor, 2 * MIB, "more")
    assert rich.resident / poor.resident == pytest.approx(3, rel=0.05)


def test_a_reservation_is_never_reclaimed_and_a_limit_is_kept() -> None:
    host = vmem.Hypervisor("48MiB", swap="128MiB")
    kept = host.create_vm("kept", memory="32MiB", reservation="16MiB", shares=1)
    fill(kept, 20 * MIB, "k")
    limited = host.create_vm("limited", memory="48MiB", limit="8MiB")
    filled = fill(limited, 30 * MIB, "l")
    assert limited.resident <= 8 * MIB
    other = host.create_vm("other", memory="48MiB")
    fill(other, 40 * MIB, "o")
    assert 16 * MIB <= kept.resident < 20 * MIB
    assert limited.resident <= 8 * MIB
    assert intact(*filled, "l")
    assert limited.resident <= 8 * MIB
    host.check()


def test_admission_as_esx_does_it() -> None:
    host = vmem.Hypervisor("128MiB", swap="128MiB", admission="esx")
    host.create_vm("a", memory="96MiB", reservation="32MiB")
    with pytest.raises(vmem.OutOfMemory, match=r"not admitted.*reservations"):
        host.create_vm("b", memory="64MiB", reservation="48MiB")
    with pytest.raises(vmem.OutOfMemory, match=r"not admitted.*swap"):
        host.create_vm("b", memory="96MiB", reservation="16MiB")
    host.create_vm("b", memory="80MiB", reservation="16MiB")
    assert set(host.vms) == {"a", "b"}


def test_the_states_come_and_go_with_hysteresis() -> None:
    host = vmem.Hypervisor("100MiB", swap="100MiB")
    vm = host.create_vm("vm", memory="100MiB")
    free = host.meminfo()["free"]
    hog = host.create_process("hog", free - 5 * MIB)
    host.advance("1s")
    assert host.state == "high"  # entered below 4 %
    hog.resize(free - 3 * MIB)
    before = vm.resident
    host.advance("1s")
    changes = [e.numbers for e in host.events() if e.kind == "host_state"]
    assert next((c["from"], c["to"]) for c in changes) == (0, 1)
    assert vm.resident < before or host.state == "soft"
    hog.resize(0)
    host.advance("1s")
    assert host.state == "high"
    assert host.events()[-1].numbers["to"] == 0
    host.check()


def test_the_last_resort_is_an_event_and_costs_one_vm_only() -> None:
    host = vmem.Hypervisor("32MiB", swap="4MiB")
    small = host.create_vm("small", memory="32MiB")
    kept = fill(small, 6 * MIB, "s")
    large = host.create_vm("large", memory="64MiB")
    process, area = fill(large, 18 * MIB, "l")
    more = process.mmap("40MiB")
    with pytest.raises(vmem.OutOfMemory):
        process.access(*vmem.batch(range(more.start, more.end, PAGE), 1))
    assert large.is_killed
    assert not small.is_killed
    event = next(e for e in host.events() if e.kind == "host_out_of_memory")
    assert event.subject == "large"
    assert event.numbers["resident"] > 18 * MIB
    assert large.resident == large.swapped == 0
    host.check()
    assert intact(*kept, "s")
    with pytest.raises(vmem.VmemError):
        process.read(area.start, 4)
    host.advance("5s")
    grown = fill(small, 12 * MIB, "g")
    assert intact(*grown, "g")
    host.destroy_vm(large)
    host.check()


@each_mode
def test_the_killed_vm_is_the_one_that_holds_most_even_if_another_asks(options: dict[str, Any]) -> None:
    host = vmem.Hypervisor("32MiB")
    large = host.create_vm("large", memory="32MiB", **options)
    gone = fill(large, 18 * MIB, "l")
    small = host.create_vm("small", memory="32MiB", **options)
    kept = fill(small, 14 * MIB, "s")
    assert large.is_killed
    assert not small.is_killed
    assert intact(*kept, "s")
    host.check()
    with pytest.raises(vmem.VmemError):
        gone[0].read(gone[1].start, 4)
    assert gone[0].access(*vmem.batch([gone[1].start])).references <= 1
    host.check()


def attempt(host: vmem.Hypervisor, name: str) -> bool:
    try:
        host.create_vm(name, memory="64MiB")
    except vmem.OutOfMemory:
        return False
    return True


def test_a_vm_that_cannot_boot_costs_no_other_vm() -> None:
    host = vmem.Hypervisor("8MiB")
    vm = host.create_vm("vm", memory="64MiB")
    filled = fill(vm, 5 * MIB, "v")
    host.create_process("hog", host.meminfo()["free"] - 64 * PAGE)
    late = [attempt(host, f"late{i}") for i in range(30)]
    assert not late[-1]
    assert not vm.is_killed
    assert intact(*filled, "v")
    host.check()


def test_a_large_page_is_cut_where_only_a_part_is_needed() -> None:
    host = vmem.Hypervisor("64MiB", swap="64MiB")
    vm = host.create_vm("vm", memory="64MiB", backing="2MiB")
    fill(vm, 50 * MIB, "v")
    host.create_process("hog", host.meminfo()["free"] + 4 * MIB)
    assert host.stat()["split"] > 0
    host.check()


@pytest.mark.parametrize(
    "bad",
    [
        {"soft": (4.0,)},
        {"soft": (0, 6.0)},
        {"soft": (4.0, 3.0)},
        {"hard": (5.0, 6.0)},
        {"victims": "lru"},
        {"period": "0s"},
        {"period": "soon"},
    ],
)
def test_a_bad_way_to_reclaim_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(vmem.ConfigError):
        vmem.Hypervisor("64MiB", reclaim=vmem.HostReclaim(**bad))


@pytest.mark.parametrize("bad", [{"reservation": "32MiB"}, {"limit": "1KiB"}, {"shares": 0}, {"limit": "-1"}])
def test_a_bad_share_of_the_machine_is_refused(bad: dict[str, Any]) -> None:
    host = vmem.Hypervisor("64MiB")
    with pytest.raises(vmem.ConfigError):
        host.create_vm("vm", memory="16MiB", **bad)
