"""The qemu-user plugin of the examples: a live program counts what its replayed recording counts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import vmem
from vmem.traces import record
from vmem.traces import recorder_plugin as tools

from .conftest import ROOT, STRICT, ask, figures

MODES = ("nested", "native", "shadow", "software-tlb")
PROGRAM = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
enum { WORDS = 1 << 22, PAGE = 4096 };
int main(void) {
  uint32_t state = 1, sum = 0;
  uint32_t *table = malloc(WORDS * sizeof *table);
  for (int i = 0; i < 100000; ++i) table[(state = state * 1664525u + 1013904223u) >> 10] += state;
  char *pages = mmap(0, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 64; ++i) pages[i * PAGE] = 1;
  mprotect(pages, 8 * PAGE, PROT_READ);
  munmap(pages + 16 * PAGE, 16 * PAGE);
  for (int i = 0; i < 16; ++i) sum += (uint32_t)pages[i * PAGE];
  free(table);
  return sum != 16;
}
"""


@pytest.fixture(scope="module")
def qemu() -> str:
    found = tools.find_qemu()
    if found is None or tools.find_compiler() is None:
        pytest.skip("needs qemu-user and a C compiler")
    return found


@pytest.fixture(scope="module")
def program(qemu: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Linked statically: the addresses of a dynamic one depend on what else is loaded."""
    path = tmp_path_factory.mktemp("streamed") / "program"
    source = path.with_suffix(".c")
    source.write_text(PROGRAM)
    subprocess.run(["cc", "-O1", "-static", str(source), "-o", str(path)], check=True)
    return str(path)


@pytest.fixture(scope="module")
def plugin(installed: Path, qemu: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("plugin") / "qemu_stream.so"
    source = ROOT / "examples" / "embed" / "qemu_stream.c"
    for api in range(1, 6):
        command = ["cc", "-std=c99", *STRICT, "-O2", "-shared", "-fPIC", f"-DPLUGIN_API={api}", str(source)]
        subprocess.run([*command, "-o", str(built), *ask("--cflags", "--libs").split()], check=True)
        tried = subprocess.run([qemu, "-plugin", str(built), "/bin/true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return built
    raise AssertionError(tried.stderr.decode())


def streamed(qemu: str, plugin: Path, mode: int, program: str, out: Path) -> dict[str, int]:
    arguments = f"{plugin},mode={mode},mib=128,out={out}"
    command = [*tools.same_addresses(), qemu, "-seed", "1", "-plugin", arguments, program]
    subprocess.run(command, env={"LC_ALL": "C"}, check=True)
    return figures(out.read_text())


def replayed(trace: vmem.Trace, mode: str) -> dict[str, int]:
    vm = vmem.Hypervisor("256MiB").create_vm("vm", memory="128MiB", mmu=mode)
    process = vm.guest.spawn("program")
    done = process.run(trace)
    counters = {name: value for name, value in vm.counters().items() if not name.endswith("cycles")}
    return {"references": done.references, "segfaults": done.segfaults, **counters}


def test_a_live_program_counts_what_its_recording_counts(
    qemu: str, plugin: Path, program: str, tmp_path: Path
) -> None:
    recorded = record(
        [program], tmp_path / "program.vmt", backend="qemu", codec="stored", env={"LC_ALL": "C"}
    )
    assert recorded.returncode == 0
    trace = vmem.Trace.open(tmp_path / "program.vmt")
    for number, mode in enumerate(MODES):
        live = streamed(qemu, plugin, number, program, tmp_path / "report")
        again = replayed(trace, mode)
        assert live["references"] == recorded.totals.references > 500_000 and live["segfaults"] == 0
        assert live["tlb_misses"] > 1000 and live["faults.guest_page_fault"] > 150
        # What was mapped from the start, the plugin maps with all rights, a replay with those that were
        # used: an mprotect of it (RELRO) stores to the table in the one only, which exits if it is traced.
        stores = [counted.pop("exits.page_table_write") for counted in (live, again)]
        assert abs(stores[0] - stores[1]) <= 2 and (mode == "shadow") == (stores[0] > 1000)
        assert live == again, mode


def test_a_wrong_mode_is_said(qemu: str, plugin: Path, program: str) -> None:
    command = [qemu, "-plugin", f"{plugin},mode=9", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "mode is 9" in done.stderr
