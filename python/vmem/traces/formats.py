"""Which format a file has: its content decides, its name is a hint where the content can be several
things.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from vmem import _core
from vmem.errors import ConfigError, TraceError
from vmem.traces import vmt
from vmem.traces.arrays import NPY_MAGIC, NpyPair, Npz
from vmem.traces.model import Reader
from vmem.traces.parsed import BINARY_FORMATS, TEXT_FORMATS, ZIP_ERRORS, DrMemTraceZip, ParsedReader
from vmem.traces.source import SUFFIXES, Source

FORMATS = {
    "vmt": "vmem's page-compact format (.vmt)",
    "lackey": "valgrind --tool=lackey --trace-mem=yes",
    "classic": "text lines 'hexaddr R|W', also 'R|W hexaddr' and pinatrace's 'ip: R|W hexaddr'",
    "din": "Dinero III text lines 'label hexaddr'",
    "champsim": "ChampSim input_instr, 64 bytes an instruction",
    "drmemtrace": "DynamoRIO drmemtrace: .zip of chunks, or its entries",
    "npy": "the pair X.addresses.npy (uint64) and X.kinds.npy (uint8)",
    "npz": "a .npz with the arrays addresses (uint64) and kinds (uint8)",
}
"""Every format that can be read, with what it is."""

_NAMES = {
    ".vmt": "vmt",
    ".lackey": "lackey",
    ".din": "din",
    ".champsim": "champsim",
    ".champsimtrace": "champsim",
    ".memtrace": "drmemtrace",
    ".npy": "npy",
    ".npz": "npz",
}
_ZIP_MAGIC = b"PK\x03\x04"
_SNIFF = 1 << 16
_ENOUGH = 256
"""Bytes that a binary format must explain before its first wrong record, to be recognised."""


def plain_suffix(path: Path) -> str:
    """The last suffix of a name, compression apart: ".vmt" of "a.vmt.gz"."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in SUFFIXES]
    return suffixes[-1] if suffixes else ""


def hint_of(path: Path) -> str | None:
    """The format that the name suggests."""
    return _NAMES.get(plain_suffix(path))


def open_reader(path: Path, format: str | None) -> Reader:
    """A reader for the file. Raises `TraceError` if the file is no trace, `ConfigError` if `format` is
    none.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(f"trace format {format!r}; accepted are {', '.join(FORMATS)}")
    if path.is_dir():
        raise TraceError("a directory; accepted is a trace file", path=path)
    with Source(path) as source:
        head = source.read_exactly(_SNIFF)
        whole = len(head) < _SNIFF
    found = format or _detect(path, head, whole)
    makers: dict[str, Callable[[], Reader]] = {
        "vmt": lambda: vmt.VmtReader(path),
        "npy": lambda: NpyPair(path),
        "npz": lambda: Npz(path),
    }
    if found == "drmemtrace" and head.startswith(_ZIP_MAGIC):
        return DrMemTraceZip(path)
    return makers[found]() if found in makers else ParsedReader(path, found)


def _detect(path: Path, head: bytes, whole: bool) -> str:
    if not head:
        raise TraceError("the file is empty", path=path, offset=0)
    if head.startswith(_ZIP_MAGIC):
        return _detect_zip(path)
    if head.startswith(vmt.MAGIC):
        return "vmt"
    if head.startswith(NPY_MAGIC):
        return "npy"
    return _detect_records(head, whole, hint_of(path)) or _unknown(path, head)


def _detect_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ZIP_ERRORS as error:
        raise TraceError(f"damaged zip file ({error})", path=path, offset=0) from None
    if any(name.startswith("chunk.") for name in names):
        return "drmemtrace"
    if "addresses.npy" in names:
        return "npz"
    accepted = "drmemtrace (members chunk.0000, …) and npz (addresses, kinds)"
    raise TraceError(f"a zip file that is no trace; accepted are {accepted}", path=path, offset=0)


def _detect_records(head: bytes, whole: bool, hint: str | None) -> str | None:
    """The format whose parser gets furthest; a file damaged further on is still of that format."""
    if b"\x00" not in head:
        reach = {format: _reach(format, head, whole) for format in TEXT_FORMATS}
        best = max(reach, key=lambda format: (reach[format], format == hint))
        if reach[best]:
            return best
    if _is_champsim(head, whole, hint):
        return "champsim"
    # Every drmemtrace begins with a header entry (type 25).
    if head[:2] == b"\x19\x00" and _reach("drmemtrace", head, whole) >= min(_ENOUGH, len(head) // 12 * 12):
        return "drmemtrace"
    return hint if hint in BINARY_FORMATS else None


def _is_champsim(head: bytes, whole: bool, hint: str | None) -> bool:
    # A long row of zeros would parse too, but no instruction is at address 0.
    return any(head[:8]) and _reach("champsim", head, whole) >= (
        64 if hint == "champsim" else min(_ENOUGH, len(head))
    )


def _reach(format: str, head: bytes, whole: bool) -> int:
    """How many bytes of the file's beginning are records of the format; 0 if there is no reference among
    them.
    """
    addresses, _, consumed, _ = _core.TraceParser(format).feed(head, whole)
    return consumed if len(addresses) else 0


def _unknown(path: Path, head: bytes) -> str:
    hint = hint_of(path)
    accepted = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    named = (
        f"named like the format {hint!r}, but its content is not of it"
        if hint
        else "not a trace of a known format"
    )
    raise TraceError(f"{named} (it begins with {head[:16]!r}). Accepted are {accepted}", path=path, offset=0)
