"""vmem.capi: the C interface from Python gives what the Python interface gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vmem

pytest.importorskip("cffi")


def test_a_vm_counts_what_python_counts(installed: Path) -> None:
    from vmem.capi import check, ffi, lib, structure

    config = structure("vmem_host_config")
    config.memory = 1 << 28
    out = ffi.new("vmem_host **")
    check(lib.vmem_host_create(config, out))
    host = ffi.gc(out[0], lib.vmem_host_destroy)
    vm_config = structure("vmem_vm_config")
    vm_config.memory = 64 << 20
    vm, process, start, value = (
        ffi.new(f"{kind} *") for kind in ("uint32_t", "uint32_t", "uint64_t", "uint64_t")
    )
    check(lib.vmem_vm_create(host, vm_config, vm))
    check(lib.vmem_process_spawn(host, vm[0], b"app", process))
    request = structure("vmem_map_request")
    request.length = 8 << 20
    request.protection = lib.VMEM_READ | lib.VMEM_WRITE
    check(lib.vmem_process_mmap(host, vm[0], 0, process[0], request, start))

    hv = vmem.Hypervisor(memory="256MiB")
    twin = hv.create_vm("vm", memory="64MiB")
    twin_process = twin.guest.spawn("app")
    assert twin_process.mmap("8MiB").start == start[0]

    addresses = start[0] + np.arange(50_000, dtype=np.uint64) * np.uint64(7919) % np.uint64(8 << 20)
    kinds = (np.arange(50_000) % 3 == 0).astype(np.uint8)
    summary = structure("vmem_summary")
    check(
        lib.vmem_process_access_batch(
            host,
            vm[0],
            0,
            process[0],
            ffi.from_buffer("uint64_t[]", addresses),
            ffi.from_buffer("uint8_t[]", kinds),
            len(addresses),
            summary,
        )
    )
    assert summary.done == twin_process.access(addresses, kinds).references
    for name, expected in twin.counters().items():
        check(lib.vmem_vm_counter(host, vm[0], name.encode(), value))
        assert value[0] == expected, name
    for name, expected in twin.guest.meminfo().items():
        check(lib.vmem_guest_meminfo(host, vm[0], name.encode(), value))
        assert value[0] == expected, name
    for name, expected in twin.guest.vmstat().items():
        check(lib.vmem_guest_vmstat(host, vm[0], name.encode(), value))
        assert value[0] == expected, name
    for name, expected in (hv.meminfo() | hv.stat()).items():
        if "." not in name:
            check(lib.vmem_host_counter(host, name.encode(), value))
            assert value[0] == expected, name


def test_refusals_are_vmem_s_errors(installed: Path) -> None:
    from vmem.capi import check, ffi, lib, structure

    config = structure("vmem_host_config")
    config.memory = 4095
    with pytest.raises(vmem.ConfigError, match="4095"):
        check(lib.vmem_host_create(config, ffi.new("vmem_host **")))
    with pytest.raises(vmem.ConfigError, match="host is NULL"):
        check(lib.vmem_host_check(ffi.NULL))
    assert check(lib.VMEM_FAULT) == 1


def test_python_callbacks(installed: Path) -> None:
    from vmem.capi import check, ffi, lib, structure

    config = structure("vmem_host_config")
    config.memory = 1 << 28
    out = ffi.new("vmem_host **")
    check(lib.vmem_host_create(config, out))
    host = ffi.gc(out[0], lib.vmem_host_destroy)
    times: list[int] = []

    @ffi.callback("vmem_policy_fn", error=1)
    def policy(user: object, host: object, now: int) -> int:
        times.append(now)
        if len(times) == 4:
            raise RuntimeError("enough")
        return 0

    check(lib.vmem_host_set_policy(host, 10**9, policy, ffi.NULL))
    check(lib.vmem_host_advance(host, 3 * 10**9))
    assert times == [10**9, 2 * 10**9, 3 * 10**9]
