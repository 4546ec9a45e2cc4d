"""Hits and misses on every shipped trace, equal to an exact LRU model that knows nothing of page tables.

The references of the traces, without their mapping calls: what those invalidate is not a question of LRU.
Every page is demand-faulted by the guest's kernel (and backed by the hypervisor, nested) in the middle of the
stream; the access that faults is a miss, and its retry fills.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import vmem
from vmem import traces
from vmem.traces import MapEvent, Trace
from vmem.traces.model import LOAD, STORE, Progress, Runs, Totals

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="the model is C and there is no C compiler")


class Geometry(NamedTuple):
    l1i: tuple[int, int]
    l1d: tuple[int, int]
    l2: tuple[int, int]

    def cpu(self) -> vmem.Cpu:
        return vmem.Cpu(
            l1i=vmem.Tlb(*self.l1i),
            l1d=vmem.Tlb(*self.l1d),
            l2=vmem.Tlb(*self.l2),
            psc=vmem.Psc(pde=vmem.Tlb(32, 4)),
        )


GEOMETRIES = {
    "64/4 I and D, 1536/12": Geometry((64, 4), (64, 4), (1536, 12)),
    "48/48 I and D, 1280/5": Geometry((48, 48), (48, 48), (1280, 5)),
    "24/3 I, 30/6 D, 340/4: sets that are no powers of two": Geometry((24, 3), (30, 6), (340, 4)),
}


class _Tlb(ctypes.Structure):
    _fields_ = (
        ("pages", ctypes.c_void_p),
        ("used", ctypes.c_void_p),
        ("sets", ctypes.c_uint64),
        ("ways", ctypes.c_uint64),
    )


class _Counts(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("loads", "stores", "fetches", "l1i_hits", "l1d_hits", "l2_hits", "tlb_misses")
    )


class ExactLru:
    """The compiled model with empty TLBs."""

    def __init__(self, library: ctypes.CDLL, geometry: Geometry) -> None:
        self._replay = library.replay
        self._ways = [np.zeros(2 * entries, np.uint64) for entries, _ in geometry]
        self._levels = [
            _Tlb(ways.ctypes.data, ways.ctypes.data + 8 * entries, entries // associativity, associativity)
            for ways, (entries, associativity) in zip(self._ways, geometry, strict=True)
        ]
        self._counts = _Counts()

    def replay(self, runs: Runs) -> None:
        assert runs.flags.c_contiguous and runs.itemsize == 16
        levels = map(ctypes.byref, self._levels)
        data = ctypes.c_void_p(runs.ctypes.data)
        self._replay(*levels, data, ctypes.c_uint64(len(runs)), ctypes.byref(self._counts))

    def counters(self) -> dict[str, int]:
        return {name: getattr(self._counts, name) for name, _ in self._counts._fields_}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    assert COMPILER is not None
    built = tmp_path_factory.mktemp("lru") / "exact_lru.so"
    source = Path(__file__).with_name("exact_lru.c")
    subprocess.run([COMPILER, "-O2", "-shared", "-fPIC", "-o", built, source], check=True)
    return ctypes.CDLL(str(built))


class _ReferencesOnly:
    """The runs of a trace, without its mapping calls."""

    compact = True
    format = "runs"

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def items(self, progress: Progress | None) -> Iterator[Runs]:
        for item in self._trace.items(progress):
            if not isinstance(item, MapEvent):
                assert isinstance(item, np.ndarray)
                yield item

    def totals(self) -> Totals:
        totals = self._trace.totals()
        return Totals(
            totals.loads, totals.stores, totals.fetches, totals.runs, 0, totals.pages, totals.regions
        )

    def details(self) -> dict[str, str]:
        return {}


def references_of(name: str) -> Trace:
    return Trace(_ReferencesOnly(Trace.open(name)), name)


def spawn(cpu: vmem.Cpu, mmu: str, trace: Trace) -> vmem.Process:
    machine = vmem.Hypervisor(memory="4GiB", cpu=cpu)
    process = machine.create_vm("vm", memory="2GiB", mmu=mmu).guest.spawn(trace.name)
    process.load(trace)
    return process


def compare(counters: dict[str, int], model: ExactLru) -> None:
    expected = model.counters()
    assert {name: counters[name] for name in expected} == expected


@needs_compiler
@pytest.mark.parametrize("mmu", ["native", "nested"])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("name", traces.shipped())
def test_every_shipped_trace(library: ctypes.CDLL, name: str, geometry: Geometry, mmu: str) -> None:
    trace = references_of(name)
    summary = spawn(geometry.cpu(), mmu, trace).run(trace)
    model = ExactLru(library, geometry)
    for runs in trace:
        model.replay(runs)
    assert summary.segfaults == 0 and summary.faults["guest_page_fault"] >= trace.pages()
    assert summary.counters["accesses"] == trace.references > 10_000_000
    compare(summary.counters, model)


@needs_compiler
@pytest.mark.parametrize("name", ["gups", "sqlite"])
def test_reference_by_reference(library: ctypes.CDLL, name: str) -> None:
    """The same numbers from arrays of single references."""
    geometry = GEOMETRIES["64/4 I and D, 1536/12"]
    trace = references_of(name)
    process = spawn(geometry.cpu(), "nested", trace)
    model = ExactLru(library, geometry)
    total: dict[str, int] = {}
    for runs in trace:
        model.replay(runs)
        counters = process.access(*singly(runs)).counters
        total = {key: total.get(key, 0) + value for key, value in counters.items()}
    compare(total, model)


def singly(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
    """The references of runs: what a run began with, then its loads, then its stores."""
    first = (runs["page"] & 3).astype(np.uint8)
    loads = runs["loads"].astype(np.int64)
    stores = runs["stores"].astype(np.int64)
    began = (first == STORE).astype(np.int64)
    parts = np.stack([began, loads, stores - began], axis=1)
    kinds = np.stack(
        [first, np.where(first == STORE, LOAD, first), np.full(len(runs), STORE, np.uint8)], axis=1
    )
    addresses = np.repeat(runs["page"] & ~np.uint64(0xFFF), loads + stores)
    return addresses, np.repeat(kinds.ravel(), parts.ravel()).astype(np.uint8)
