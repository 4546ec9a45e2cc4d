"""Size costs nothing; what is touched costs what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MIB = 1024
"""VmRSS is in KiB."""


def measured(what: str) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).with_name("memory_use.py")), what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def test_a_terabyte_host_with_200_vms_is_small() -> None:
    use = measured("many_vms")
    print(f"200 VMs on a 1 TiB host: {use['seconds']:.2f} s, VmRSS {use['after'] / MIB:.0f} MiB")
    assert use["after"] < 200 * MIB


def test_memory_grows_by_what_is_written_and_comes_back() -> None:
    use = measured("written")
    grown = use["first"] - use["mapped"]
    # 64 MiB of data, in 64 places 128 MiB apart: page tables of two dimensions and the guest's page array
    # besides.
    assert 64 * MIB <= grown < 80 * MIB
    # The second process got the frames of the first: the guest reuses its free memory before it takes more.
    assert use["reused"] - use["first"] < 4 * MIB
    # The host gave the VM's memory back to the operating system.
    assert use["destroyed"] - use["mapped"] < 8 * MIB


def test_what_is_not_touched_has_no_machine_frame() -> None:
    import vmem

    host = vmem.Hypervisor("1TiB")
    vm = host.create_vm("vm", memory="64GiB")
    booted = vm.resident
    # The kernel's own data: zone, page array entries it wrote. Far less than a percent of the memory.
    assert booted < 64 << 20
    process = vm.guest.spawn("app")
    heap = process.mmap("32GiB")
    assert vm.resident - booted < 1 << 20
    process.write(heap.start + (16 << 30), b"x")
    assert vm.resident - booted < 1 << 20
    assert process.resident == 4096
    host.check()
