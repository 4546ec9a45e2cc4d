"""What is newer in the C interface, from C++: the same calls in Python count the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

import vmem

from .conftest import Build, figures

MIB = 1 << 20


def in_python() -> dict[str, int]:
    host = vmem.Hypervisor("1GiB", swap="1GiB")
    vm = host.create_vm("vm", memory="256MiB", disk="64MiB", reclaim="hypercall-batched", on_free="zero")
    backup = host.create_process("backup", "100MiB")
    process = vm.guest.spawn("program")
    file = vm.guest.create_file("data", "8MiB")
    text = b"written by a system call"
    file.write(4090, text)
    file.fsync()
    vm.guest.drop_caches()
    mapped = process.mmap("8MiB", prot="r", file=file)
    assert process.read(mapped.start + 4090, len(text)) == text
    heap = process.mmap("32MiB")
    pages = np.arange(8192, dtype=np.uint64)
    stores = pages * np.uint64(7919) % np.uint64(8192)
    # Three loads of one page, then five references to another that begin with a store.
    order = np.stack([pages] * 3 + [stores] * 5, axis=1).reshape(-1)
    kinds = np.tile(np.array([0, 0, 0, 1, 1, 1, 1, 0], np.uint8), len(pages))
    done = process.access(order * np.uint64(4096) + np.uint64(heap.start), kinds)
    process.munmap(heap)
    backup.resize("50MiB")
    host.advance("5s")
    backup.exit()
    host.check()
    counters = {name: value for name, value in vm.counters().items() if not name.endswith("cycles")}
    return {
        "done": done.references,
        "segfaults": done.segfaults,
        "now": host.now,
        "resident": vm.resident,
        **counters,
    }


def test_parts_count_what_python_counts(build: Build) -> None:
    program = build(Path(__file__).parent / "programs" / "parts.cpp")
    done = subprocess.run([str(program)], check=True, capture_output=True, text=True)
    counted = figures(done.stdout)
    assert counted["free_hints"] > 8000 and counted["done"] == 8192 * 8
    assert counted == in_python()
