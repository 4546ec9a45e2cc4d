"""The C interface as it is declared, exported and known to cffi: three that must agree."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

import vmem

from .conftest import ROOT

cffi = pytest.importorskip("cffi")
INCLUDE = ROOT / "csrc" / "include"
SNAPSHOT = ROOT / "tests" / "capi" / "exports.txt"
MAKE = runpy.run_path(str(ROOT / "tests" / "capi" / "make_interface.py"))
PARTS = {"vmem_tlb_shape", "vmem_run", "vmem_cache", "vmem_psc", "vmem_demand_point", "vmem_trace_area"}
"""Of other structures, or elements of arrays: these can never grow."""


def headers() -> str:
    return "".join((INCLUDE / "vmem" / name).read_text() for name in MAKE["HEADERS"])


def declared() -> set[str]:
    return set(re.findall(r"^VMEM_API [^(]*?(vmem_\w+)\(", headers(), re.MULTILINE))


def structures() -> list[str]:
    """Those that a user sees inside: cffi must not be asked for the members of the others."""
    return re.findall(r"^typedef struct (vmem_\w+) \{", headers(), re.MULTILINE)


def test_the_library_exports_what_the_snapshot_lists(installed: Path) -> None:
    """A name that goes breaks programs that exist; one that comes is a promise. Both are made on purpose."""
    if shutil.which("nm") is None:
        pytest.skip("there is no nm")
    command = ["nm", "-D", "--defined-only", str(vmem.get_library())]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    exported = {line.split()[-1].split("@")[0] for line in lines if line.split()[-2] != "A"}
    assert exported == set(SNAPSHOT.read_text().split())


def test_the_snapshot_lists_what_the_headers_declare() -> None:
    assert declared() == set(SNAPSHOT.read_text().split())
    assert SNAPSHOT.read_text().split() == sorted(declared())


def test_every_header_is_among_them() -> None:
    made = {"vmem.h", "version.h"}  # the others together, and what only a preprocessor understands
    assert {path.name for path in (INCLUDE / "vmem").glob("*.h")} - made == set(MAKE["HEADERS"])


def test_cffi_knows_the_header_of_today(tmp_path: Path) -> None:
    """Otherwise: python tests/capi/make_interface.py"""
    MAKE["write_interface"](INCLUDE, tmp_path / "_interface.py")
    kept = ROOT / "python" / "vmem" / "capi" / "_interface.py"
    assert (tmp_path / "_interface.py").read_text() == kept.read_text()


def layout(ffi: cffi.FFI) -> dict[str, int]:
    """Every size and offset of the interface."""
    found = {}
    for name in structures():
        found[f"sizeof({name})"] = ffi.sizeof(name)
        for field, _ in ffi.typeof(name).fields:
            found[f"offsetof({name}, {field})"] = ffi.offsetof(name, field)
    return found


def test_a_compiler_lays_structures_out_as_cffi_does(installed: Path, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no cc")
    from vmem.capi._interface import ffi

    library = ffi.dlopen(None)
    expected = layout(ffi)
    assert len([name for name in expected if name.startswith("sizeof")]) >= 9
    constants = {name: getattr(library, name) for name in dir(library) if name.startswith("VMEM_")}
    assert constants["VMEM_E_INTERNAL"] == -8 and len(constants) > 40
    checks = "".join(f"CHECK({name} == {value})\n" for name, value in {**expected, **constants}.items())
    source = tmp_path / "layout.c"
    source.write_text(
        "#include <stddef.h>\n#include <vmem/vmem.h>\n"
        "#define JOIN_(a, b) a##b\n#define JOIN(a, b) JOIN_(a, b)\n"
        "#define CHECK(x) typedef char JOIN(check, __LINE__)[(x) ? 1 : -1];\n" + checks
    )
    subprocess.run(["cc", "-std=c99", "-fsyntax-only", f"-I{INCLUDE}", str(source)], check=True)


def test_structures_keep_their_rules(installed: Path) -> None:
    """Fixed widths, no holes that a later member could fall into, and the size first."""
    from vmem.capi._interface import ffi

    widths = {"uint64_t", "uint32_t", "int32_t", "double"}
    kinds = {"pointer", "function", "struct", "array"}
    for name in structures():
        kind = ffi.typeof(name)
        end = 0
        for _, field in kind.fields:
            assert field.type.kind in kinds or field.type.cname in widths, name
            assert field.offset == end, name
            end = field.offset + ffi.sizeof(field.type)
        assert end == ffi.sizeof(kind), name
        if name not in PARTS:
            assert kind.fields[0][0] == "size" and kind.fields[0][1].type.cname == "uint32_t", name
