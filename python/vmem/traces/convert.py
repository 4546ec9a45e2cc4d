"""From one trace format to another."""

from __future__ import annotations

import gzip
import lzma
import shlex
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from vmem import _core
from vmem.errors import ConfigError
from vmem.output import atomic_output
from vmem.traces.formats import hint_of
from vmem.traces.model import MapEvent, Progress, References
from vmem.traces.source import SUFFIXES
from vmem.traces.trace import Trace
from vmem.traces.vmt_writer import Codec, VmtWriter

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

WRITABLE = ("vmt", "lackey", "classic", "din", "npy", "npz")
"""The formats that `convert` writes."""


def convert(
    trace: Trace,
    output: Path,
    *,
    format: str | None = None,
    codec: Codec = "xz",
    progress: Progress | None = None,
) -> None:
    """Writes `trace` to `output`, in `format` or the one its name says; a suffix .gz, .xz or .zst compresses
    it.

    The file appears when it is whole. A page-compact trace no longer has its single references and can only
    become a .vmt. Raises `ConfigError` when the conversion cannot be, `TraceError` when the trace cannot be
    read.
    """
    target = format or hint_of(output)
    if target not in WRITABLE:
        raise ConfigError(
            f"output {output.name!r}: cannot tell its format, or not write it; "
            f"accepted are {', '.join(WRITABLE)}"
        )
    if target == "vmt":
        write_vmt(trace, output, codec=codec, progress=progress)
        return
    if trace.compact:
        raise ConfigError(
            f"{trace.name}: a page-compact trace has no single references any more; it converts to vmt only"
        )
    references = (item for item in trace.items(progress) if isinstance(item, References))
    if target in ("npy", "npz"):
        _write_arrays(references, output, target)
    else:
        _write_text(references, output, target)


def write_vmt(trace: Trace, output: Path, *, codec: Codec = "xz", progress: Progress | None = None) -> None:
    """Writes `trace` page-compact. What was recorded by which command stays known."""
    if output.suffix.lower() in SUFFIXES:
        raise ConfigError(
            f"output {output.name!r}: the blocks of a .vmt are compressed already; accepted is a name in .vmt"
        )
    with VmtWriter(output, codec) as writer:
        for item in trace.compacted().items(progress):
            if isinstance(item, MapEvent):
                writer.add_event(item)
            elif not isinstance(item, References):
                writer.add_runs(item)
        details = trace.details()
        command = shlex.split(details.get("command", ""))
        writer.finish(command=command, recorder=details.get("recorder", f"converted from {trace.format}"))


@contextmanager
def _compressed_output(path: Path) -> Iterator[IO[bytes]]:
    with atomic_output(path) as file:
        openers: dict[str, Callable[[], Any]] = {
            ".gz": lambda: gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0),
            ".xz": lambda: lzma.LZMAFile(file, "wb"),  # noqa: SIM115 (closed by the `with` that opens it)
            ".zst": lambda: zstd.ZstdFile(file, "wb", options={zstd.CompressionParameter.checksum_flag: 1}),
        }
        opener = openers.get(path.suffix.lower())
        if opener is None:
            yield file
            return
        with opener() as packed:
            yield packed


def _write_text(references: Iterator[References], output: Path, format: str) -> None:
    with _compressed_output(output) as file:
        for item in references:
            try:
                file.write(_core.format_references(format, item.addresses, item.kinds))
            except ValueError as error:
                raise ConfigError(str(error)) from None


def _write_arrays(references: Iterator[References], output: Path, format: str) -> None:
    """The length stands in front of an .npy array, so the data goes to two nameless files first."""
    with (
        tempfile.TemporaryFile(dir=output.parent) as addresses,
        tempfile.TemporaryFile(dir=output.parent) as kinds,
    ):
        count = 0
        for item in references:
            addresses.write(item.addresses.tobytes())
            kinds.write(item.kinds.tobytes())
            count += len(item.kinds)
        if format == "npz":
            _write_npz(output, addresses, kinds, count)
        else:
            _write_pair(output, addresses, kinds, count)


def _write_npz(output: Path, addresses: IO[bytes], kinds: IO[bytes], count: int) -> None:
    with atomic_output(output) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, dtype in (("addresses", addresses, "<u8"), ("kinds", kinds, "|u1")):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                _write_npy(member, data, dtype, count)


def _write_pair(output: Path, addresses: IO[bytes], kinds: IO[bytes], count: int) -> None:
    if ".addresses.npy" not in output.name:
        raise ConfigError(f"output {output.name!r}: a pair is named by its first file, X.addresses.npy")
    partner = output.with_name(output.name.replace(".addresses.npy", ".kinds.npy"))
    with _compressed_output(output) as first, _compressed_output(partner) as second:
        _write_npy(first, addresses, "<u8", count)
        _write_npy(second, kinds, "|u1", count)


def _write_npy(file: IO[bytes], data: IO[bytes], dtype: str, count: int) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": (count,)})
    data.seek(0)
    while chunk := data.read(1 << 20):
        file.write(chunk)
