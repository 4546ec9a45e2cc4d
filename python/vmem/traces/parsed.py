"""Readers of the formats that hold one record a reference; the parsing itself is in C++
(csrc/sim/trace_parser.hpp).
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from vmem import _core
from vmem.errors import TraceError
from vmem.traces.model import Item, Progress, References, Totals
from vmem.traces.source import CHUNK, Source

TEXT_FORMATS = ("lackey", "classic", "din")
BINARY_FORMATS = ("champsim", "drmemtrace")

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)
"""What the standard library raises on a damaged zip file."""


def parse(format: str, chunks: Iterable[bytes], path: Path) -> Iterator[References]:
    """The references of a trace that arrives in chunks. Raises `TraceError` with the offset of the first
    wrong record.
    """
    parser = _core.TraceParser(format)
    left, offset, found = b"", 0, False

    def feed(data: bytes, final: bool) -> Iterator[References]:
        nonlocal left, offset, found
        addresses, kinds, consumed, error = parser.feed(data, final)
        if len(addresses):
            found = True
            yield References(addresses, kinds)
        offset += consumed
        if error is not None:
            raise TraceError(f"not a trace of format {format!r}: {error}", path=path, offset=offset)
        left = data[consumed:]

    for chunk in chunks:
        yield from feed(left + chunk, False)
    yield from feed(left, True)
    if not found:
        raise TraceError(f"no reference in this trace of format {format!r}", path=path, offset=offset)


class ParsedReader:
    """A trace in one file, plain or compressed."""

    compact = False

    def __init__(self, path: Path, format: str) -> None:
        self.path = path
        self.format = format

    def items(self, progress: Progress | None) -> Iterator[Item]:
        with Source(self.path) as source:
            yield from parse(self.format, _chunks(source, progress), self.path)

    def totals(self) -> Totals | None:
        return None

    def details(self) -> dict[str, str]:
        with Source(self.path) as source:
            return {"compression": source.compression or "none"}


def _chunks(source: Source, progress: Progress | None) -> Iterator[bytes]:
    while data := source.read():
        yield data
        if progress is not None:
            progress(source.position, source.size)


class DrMemTraceZip:
    """DynamoRIO's .trace.zip: the entries of one thread, cut into the members chunk.0000, chunk.0001, ..."""

    format = "drmemtrace"
    compact = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def items(self, progress: Progress | None) -> Iterator[Item]:
        with open_zip(self.path) as archive:
            yield from parse(self.format, self._chunks(archive, progress), self.path)

    def _chunks(self, archive: zipfile.ZipFile, progress: Progress | None) -> Iterator[bytes]:
        members = sorted(
            (m for m in archive.infolist() if m.filename.startswith("chunk.")), key=lambda m: m.filename
        )
        if not members:
            raise TraceError(
                "no member chunk.0000 in the zip file: not a drmemtrace", path=self.path, offset=0
            )
        total = sum(member.compress_size for member in members)
        done = 0
        for member in members:
            with open_member(archive, member, self.path) as stream:
                while data := read_member(stream, CHUNK, self.path, member):
                    yield data
            done += member.compress_size
            if progress is not None:
                progress(done, total)

    def totals(self) -> Totals | None:
        return None

    def details(self) -> dict[str, str]:
        return {"compression": "zip"}


def open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except ZIP_ERRORS as error:
        raise TraceError(f"damaged zip file ({error})", path=path, offset=0) from None


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> IO[bytes]:
    try:
        return archive.open(member)
    except ZIP_ERRORS as error:
        message = f"damaged member {member.filename} of the zip file ({error})"
        raise TraceError(message, path=path, offset=member.header_offset) from None


def read_member(stream: IO[bytes], count: int, path: Path, member: zipfile.ZipInfo) -> bytes:
    try:
        return stream.read(count)
    except ZIP_ERRORS as error:
        message = f"damaged member {member.filename} of the zip file ({error})"
        raise TraceError(message, path=path, offset=member.header_offset) from None
