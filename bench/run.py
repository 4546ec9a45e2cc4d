"""Speeds of vmem as ratios to the yardstick, measured in one run: `python bench/run.py`.

The yardstick is compiled on the spot with the system's C++ compiler. Times vary from machine to machine and
from minute to minute; ratios of one run are what can be compared. Every figure is the best of `--repeat`
rounds, and the contestants take turns within a round.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shadow

import vmem
from vmem.traces import MapEvent, References, Trace, shipped

MODES: dict[str, dict[str, Any]] = {
    "native": {"mmu": "native"},
    "nested": {"mmu": "nested"},
    "trace": {"mmu": "shadow", "sync": "trace"},
    "unsync": {"mmu": "shadow", "sync": "unsync"},
    "vtlb": {"mmu": "shadow", "sync": "vtlb"},
    "software": {"mmu": "software-tlb"},
}
COMPACT = ("native", "nested")
"""Modes in which replay of runs is measured too."""

Addresses = npt.NDArray[np.uint64]
Kinds = npt.NDArray[np.uint8]


class Yardstick:
    """The compiled yardstick."""

    def __init__(self, directory: str) -> None:
        library = Path(directory) / "yardstick.so"
        source = Path(__file__).with_name("yardstick.cpp")
        subprocess.run(
            ["c++", "-std=c++20", "-O3", "-fPIC", "-shared", str(source), "-o", str(library)], check=True
        )
        self._library = ctypes.CDLL(str(library))
        for name in ("yardstick", "expand"):
            getattr(self._library, name).restype = ctypes.c_uint64

    def run(self, addresses: Addresses, kinds: Kinds) -> int:
        """Misses of the last level."""
        return int(
            self._library.yardstick(_pointer(addresses), _pointer(kinds), ctypes.c_uint64(len(addresses)))
        )

    def expand(self, trace: Trace, limit: int) -> tuple[Addresses, Kinds]:
        """Single references of a compact trace, at most `limit`."""
        runs = np.concatenate([item for item in trace if not isinstance(item, (MapEvent, References))])
        room = min(limit, trace.references)
        addresses, kinds = np.empty(room, np.uint64), np.empty(room, np.uint8)
        count = self._library.expand(
            _pointer(runs),
            ctypes.c_uint64(len(runs)),
            _pointer(addresses),
            _pointer(kinds),
            ctypes.c_uint64(room),
        )
        return addresses[:count], kinds[:count]


def _pointer(array: npt.NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _process(mode: str, trace: Trace) -> vmem.Process:
    host = vmem.Hypervisor("4GiB")
    vm = host.create_vm(mode, memory="1GiB", **MODES[mode])
    process = vm.guest.spawn(trace.name)
    process.load(trace)
    return process


def measure(yardstick: Yardstick, name: str, limit: int, repeat: int) -> dict[str, float]:
    """Seconds per reference of each contestant on one trace, first touches aside."""
    trace = Trace.open(name)
    addresses, kinds = yardstick.expand(trace, limit)
    runs = np.concatenate([item for item in trace if not isinstance(item, (MapEvent, References))])
    contestants: dict[str, tuple[Callable[[], object], int]] = {
        "yardstick": (lambda: yardstick.run(addresses, kinds), len(addresses))
    }
    for mode in MODES:
        process = _process(mode, trace)
        process.access(addresses, kinds)
        contestants[f"{mode}.access"] = (lambda p=process: p.access(addresses, kinds), len(addresses))
        core, where = process._core, process._where
        if mode in COMPACT and limit >= trace.references:
            contestants[f"{mode}.compact"] = (
                lambda c=core, w=where: c.replay(*w, runs, None),
                trace.references,
            )
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(repeat):
        for key, (work, count) in contestants.items():
            best[key] = min(best[key], _seconds(work) / count)
    return best


def first_touch(mode: str, pages: int) -> float:
    """Seconds per first-touch fault."""
    host = vmem.Hypervisor("8GiB")
    vm = host.create_vm(mode, memory="4GiB", **MODES[mode])
    process = vm.guest.spawn("toucher")
    area = process.mmap(pages * 4096)
    addresses = np.arange(area.start, area.end, 4096, dtype=np.uint64)
    return _seconds(lambda: process.access(addresses, np.ones(pages, np.uint8))) / pages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--smoke", action="store_true", help="a quick pass over everything, to see that it works"
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    limit, repeat = (200_000, 1) if arguments.smoke else (10**9, arguments.repeat)
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        yardstick = Yardstick(directory)
        columns = [f"{mode}.access" for mode in MODES] + [f"{mode}.compact" for mode in COMPACT]
        names = [*MODES, "native c.", "nested c."]
        print("Ratios of speeds to the yardstick; 'c.' is the replay of page-compact runs.")
        print(f"{'trace':8}{'yardstick':>10}" + "".join(f"{name:>10}" for name in names))
        for name in shipped():
            best = results[name] = measure(yardstick, name, limit, repeat)
            base = best["yardstick"]
            ratios = [base / best[key] if key in best else float("nan") for key in columns]
            print(f"{name:8}{1e-6 / base:6.0f} M/s" + "".join(f"{ratio:10.2f}" for ratio in ratios))
            sys.stdout.flush()
    pages = 20_000 if arguments.smoke else 400_000
    for mode in COMPACT:
        touch = min(first_touch(mode, pages) for _ in range(repeat))
        results[f"first-touch {mode}"] = {"seconds": touch}
        print(f"first touch, {mode}: {1e-6 / touch:.2f} million faults a second")
    for what, measure_one in (
        ("hidden shadow fills", shadow.fills),
        ("traced table stores", shadow.traced_stores),
    ):
        each = min(measure_one(pages // 4) for _ in range(repeat))
        results[what] = {"seconds": each}
        print(f"{what}: {1e-6 / each:.2f} million a second")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
