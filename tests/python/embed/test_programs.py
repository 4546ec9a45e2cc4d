"""Programs in C and C++ give, on the same references, what Python gives."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import vmem

from .conftest import ROOT, Build, figures

MODES = ("nested", "native", "shadow", "software-tlb")
HERE = Path(__file__).parent / "programs"
References = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]


def some_references(count: int, reach: int) -> References:
    """Near and far ones, and a few that miss the mapping."""
    random = np.random.default_rng(7)
    near = (np.arange(count, dtype=np.uint64) * np.uint64(40)) % np.uint64(reach)
    far = random.integers(0, reach, count, dtype=np.uint64)
    addresses = np.where(random.random(count) < 0.7, near, far)
    addresses[:: count // 5] += np.uint64(1 << 40)
    return addresses, random.choice(np.array([0, 1, 2], np.uint8), count, p=[0.5, 0.2, 0.3])


def in_python(mode: str, references: References) -> dict[str, int]:
    host = vmem.Hypervisor(memory="256MiB", cpu="zen4")
    vm = host.create_vm("vm", memory="128MiB", mmu=mode)
    process = vm.guest.spawn("program")
    start = process.mmap("64MiB", prot="rwx").start
    summary = process.access(references[0] + np.uint64(start), references[1])
    return {
        "done": summary.references,
        "segfaults": summary.segfaults,
        **{name: value for name, value in vm.counters().items() if name != "walk_cycles"},
        "now": host.now,
    }


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_whole_machines_count_what_python_counts(language: str, build: Build, tmp_path: Path) -> None:
    references = some_references(150_000, 48 << 20)
    paths = [tmp_path / "addresses", tmp_path / "kinds"]
    for array, path in zip(references, paths, strict=True):
        array.tofile(path)
    program = build(HERE / f"machine.{language}")
    for number, mode in enumerate(MODES):
        command = [str(program), str(number), *map(str, paths)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        counted = figures(output)
        assert counted["segfaults"] > 0 and counted["walks"] > 1000
        assert counted == in_python(mode, references)


def lackey(references: References) -> str:
    """A trace of them in valgrind's words; every hundredth store becomes a modification."""
    lines = ["==1== a line of valgrind's own"]
    for index, (address, kind) in enumerate(zip(*(array.tolist() for array in references), strict=True)):
        what = "LSI"[kind] if kind != 1 or index % 100 else "M"
        lines.append(f"{'I ' if what == 'I' else ' ' + what} {address:08x},8")
    return "\n".join(lines) + "\n"


class PythonCpu:
    """The operating system and MMU of examples/embed/trace_cpu.c once more."""

    def __init__(self) -> None:
        self.memory = vmem.PhysicalMemory("256MiB")
        self.mmu = vmem.Mmu(self.memory, "zen3")
        self.next_frame = 8192
        self.mmu.set_state(cr3=4096)
        self.page_faults = 0

    def reference(self, address: int, kind: str) -> None:
        while not self.mmu.access(address, kind).ok:
            self.page_faults += 1
            self.map(address)

    def map(self, address: int) -> None:
        table = 4096
        for level in (4, 3, 2, 1):
            at = table + (address >> (12 + 9 * (level - 1)) & 511) * 8
            entry = int.from_bytes(self.memory.read(at, 8), "little")
            if not entry & 1:
                entry = self.next_frame | 7
                self.next_frame += 4096
                self.memory.write(at, entry.to_bytes(8, "little"))
            table = entry & ~0xFFF

    def run(self, trace: str) -> dict[str, int]:
        kinds = {"I": ["fetch"], "L": ["load"], "S": ["store"], "M": ["load", "store"]}
        for line in trace.splitlines():
            word, _, rest = line.strip().partition(" ")
            for kind in kinds.get(word, []):
                self.reference(int(rest.strip().split(",")[0], 16), kind)
        return {f"mmu.{name}": value for name, value in self.mmu.counters().items()}


def test_the_examples_count_what_python_counts(build: Build) -> None:
    references = some_references(20_000, 8 << 20)
    trace = lackey((references[0] % np.uint64(1 << 40) + np.uint64(0x400000), references[1]))
    cpu = PythonCpu()
    counters = cpu.run(trace)
    reports = []
    for language in ("c", "cpp"):
        program = build(ROOT / "examples" / "embed" / f"trace_cpu.{language}")
        done = subprocess.run([str(program), "zen3"], input=trace, check=True, capture_output=True, text=True)
        reports.append(figures(done.stdout))
    assert reports[0] == reports[1]
    assert counters.items() <= reports[0].items()
    assert reports[0]["page_faults"] == cpu.page_faults > 1000
    assert reports[0]["cycles"] > reports[0]["references"] > 20_000


def test_the_examples_say_what_is_wrong(build: Build) -> None:
    for language in ("c", "cpp"):
        program = build(ROOT / "examples" / "embed" / f"trace_cpu.{language}")
        done = subprocess.run([str(program), "z80"], input="", capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "unknown CPU 'z80'" in done.stderr
