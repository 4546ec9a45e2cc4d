"""Declares the C interface to cffi, without a compiler: `python tests/capi/make_interface.py`.

Writes python/vmem/capi/_interface.py; tests/python/embed/test_interface.py holds that against the headers.
"""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

HEADERS = ("status.h", "cpu.h", "mmu.h", "host.h", "program.h")


def declarations(include: Path) -> str:
    """The headers' declarations, without what only a preprocessor or C++ understands."""
    text = "".join((include / "vmem" / name).read_text() for name in HEADERS)
    text = re.sub(r"#ifdef __cplusplus\n.*?#endif\n", "", text, flags=re.DOTALL)
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    return text.replace("VMEM_API ", "")


def write_interface(include: Path, out: Path) -> None:
    """Writes the module that declares the interface in `include` to cffi."""
    builder = FFI()
    builder.cdef(declarations(include))
    builder.set_source("vmem.capi._interface", None)
    builder.emit_python_code(str(out))


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    write_interface(root / "csrc" / "include", root / "python" / "vmem" / "capi" / "_interface.py")
