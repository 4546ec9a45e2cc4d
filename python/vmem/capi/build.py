"""Makes `_interface.py` of the header: `python -m vmem.capi.build INCLUDE_DIRECTORY`. No compiler is needed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cffi import FFI

HEADERS = ("status.h", "mmu.h", "host.h")


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
    write_interface(Path(sys.argv[1]), Path(__file__).with_name("_interface.py"))
