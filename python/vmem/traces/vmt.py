"""vmem's own page-compact format, .vmt: docs/formats/vmt.md is its definition."""

from __future__ import annotations

import lzma
import shlex
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

from vmem import _core
from vmem.errors import TraceError
from vmem.traces.model import MAX_ITEM, Item, MapEvent, Progress, Runs, Totals, count_kinds
from vmem.traces.source import Source

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

T = TypeVar("T")

MAGIC = b"\x89VMT\r\n\x1a\n"
VERSION = 1
PAGE_SHIFT = 12

FILE_HEADER = struct.Struct("<8sHBBI")
"""Magic, version, page shift, 0, bytes of the metadata; then the CRC-32 of these and the metadata, then the
metadata.
"""
BLOCK_HEADER = struct.Struct("<BBHIII")
"""Type, codec, 0, records, bytes uncompressed, bytes stored; then the CRC-32 of these and the stored bytes,
then those.
"""
CRC = struct.Struct("<I")

END, RUNS, EVENTS = 0, 1, 2
STORED, XZ, ZSTD = 0, 1, 2
CODECS = {"stored": STORED, "xz": XZ, "zstd": ZSTD}

MAX_BLOCK_RUNS = 1 << 18
MAX_BLOCK_BYTES = 16 << 20
MAX_METADATA = 16 << 20
_XZ_MEMORY = 64 << 20


class Metadata(msgspec.Struct, frozen=True):
    """The JSON at the front of the file."""

    totals: Totals
    initial: tuple[MapEvent, ...] = ()
    """What was mapped before the first reference: the program itself, its stack. Replayed as events before
    all else.
    """
    command: tuple[str, ...] = ()
    recorder: str = ""


class PlacedEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event, and how many runs of the next block of runs come before it."""

    before: int
    event: MapEvent


class VmtReader:
    """A page-compact trace. Raises `TraceError` with the offset of the block that is wrong."""

    format = "vmt"
    compact = True

    def __init__(self, path: Path) -> None:
        self.path = path
        with Source(path) as source:
            self.metadata, _ = self._header(source)
            self._compression = source.compression

    def totals(self) -> Totals | None:
        return self.metadata.totals

    def details(self) -> dict[str, str]:
        named = {"command": shlex.join(self.metadata.command), "recorder": self.metadata.recorder}
        return {"compression": self._compression or "blocks"} | {
            key: value for key, value in named.items() if value
        }

    def items(self, progress: Progress | None) -> Iterator[Item]:
        with Source(self.path) as source:
            metadata, offset = self._header(source)
            yield from metadata.initial
            kinds, runs = np.zeros(3, np.int64), 0
            events = len(metadata.initial)
            for item in self._blocks(source, offset, progress):
                if isinstance(item, MapEvent):
                    events += 1
                else:
                    kinds += count_kinds(item)
                    runs += len(item)
                yield item
            t = metadata.totals
            if (*kinds.tolist(), runs, events) != (t.loads, t.stores, t.fetches, t.runs, t.events):
                found = f"{kinds.tolist()} loads, stores and fetches, {runs} runs, {events} events"
                raise self._wrong(f"the blocks hold other totals than the header says: {found}", 0)

    def _wrong(self, message: str, offset: int) -> TraceError:
        return TraceError(message, path=self.path, offset=offset)

    def _header(self, source: Source) -> tuple[Metadata, int]:
        """The metadata and the offset behind it."""
        start = source.read_exactly(FILE_HEADER.size)
        if not start.startswith(MAGIC[: len(start)]) or not start:
            raise self._wrong("not a .vmt trace: it does not begin with the format's magic bytes", 0)
        if len(start) < FILE_HEADER.size:
            raise self._wrong("the header ends early: the file is cut short", len(start))
        _, version, page_shift, reserved, length = FILE_HEADER.unpack(start)
        if version != VERSION:
            raise self._wrong(f"version {version} of the format; accepted is {VERSION}", 8)
        if page_shift != PAGE_SHIFT or reserved != 0 or length > MAX_METADATA:
            raise self._wrong("a damaged header", 10)
        text = self._checked(source, start, length, 0)
        offset = FILE_HEADER.size + CRC.size
        metadata = self._json(text, Metadata, offset)
        t = metadata.totals
        regions = [MapEvent("mmap", start, length, prot) for start, length, prot in t.regions]
        if min(t.loads, t.stores, t.fetches, t.runs, t.events, t.pages) < 0 or not all(
            map(is_valid, regions)
        ):
            raise self._wrong("impossible totals in the header", offset)
        if not all(map(is_valid, metadata.initial)):
            raise self._wrong("an impossible event in the header", offset)
        return metadata, offset + length

    def _checked(self, source: Source, header: bytes, length: int, offset: int) -> bytes:
        """The `length` bytes that follow a header and its checksum."""
        rest = source.read_exactly(CRC.size + length)
        if len(rest) < CRC.size + length:
            raise self._wrong("the file is cut short", offset + len(header) + len(rest))
        body = rest[CRC.size :]
        if CRC.unpack(rest[: CRC.size])[0] != zlib.crc32(body, zlib.crc32(header)):
            raise self._wrong("the checksum does not match: the file is damaged", offset)
        return body

    def _json(self, text: bytes, type: type[T], offset: int) -> T:
        try:
            return msgspec.json.decode(text, type=type)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._wrong(f"damaged data ({error})", offset) from None

    def _blocks(self, source: Source, offset: int, progress: Progress | None) -> Iterator[Runs | MapEvent]:
        waiting: list[PlacedEvent] = []
        while True:
            header = source.read_exactly(BLOCK_HEADER.size)
            if len(header) < BLOCK_HEADER.size:
                raise self._wrong("no end marker: the file is cut short", offset + len(header))
            type, codec, reserved, count, raw_length, stored_length = BLOCK_HEADER.unpack(header)
            too_large = max(raw_length, stored_length) > MAX_BLOCK_BYTES or count > MAX_BLOCK_RUNS
            misplaced = type not in ((RUNS,) if waiting else (END, RUNS, EVENTS))
            if too_large or misplaced or reserved or (type == END and raw_length):
                raise self._wrong("a damaged block header", offset)
            stored = self._checked(source, header, stored_length, offset)
            payload = self._decompress(codec, stored, raw_length, offset)
            if type == EVENTS:
                waiting = self._json(payload, list[PlacedEvent], offset)
            elif type == RUNS:
                runs = self._runs(payload, count, offset)
                yield from self._weave(runs, waiting, offset)
                waiting = []
            offset += BLOCK_HEADER.size + CRC.size + stored_length
            if progress is not None:
                progress(source.position, source.size)
            if type == END:
                break
        if source.read_exactly(1):
            raise self._wrong("bytes after the end marker", offset)

    def _decompress(self, codec: int, stored: bytes, length: int, offset: int) -> bytes:
        try:
            if codec == STORED:
                data, whole = stored, True
            elif codec == XZ:
                xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
                data = xz.decompress(stored, length + 1)
                whole = xz.eof
            elif codec == ZSTD:
                frame = zstd.ZstdDecompressor()
                data = frame.decompress(stored, length + 1)
                whole = frame.eof
            else:
                raise self._wrong(
                    f"compression {codec} of a block; accepted are 0 stored, 1 xz, 2 zstd", offset
                )
        except (lzma.LZMAError, zstd.ZstdError, EOFError) as error:
            raise self._wrong(f"damaged compression of a block ({error})", offset) from None
        if len(data) != length or not whole:
            raise self._wrong("a block of another length than its header says", offset)
        return data

    def _runs(self, payload: bytes, count: int, offset: int) -> Runs:
        try:
            return _core.decode_runs(payload, count)
        except ValueError as error:
            raise self._wrong(f"a damaged block of runs ({error})", offset) from None

    def _weave(self, runs: Runs, events: list[PlacedEvent], offset: int) -> Iterator[Runs | MapEvent]:
        """The runs of a block with the events between them, in pieces of at most MAX_ITEM runs."""
        at = 0
        for placed in events:
            if not at <= placed.before <= len(runs) or not is_valid(placed.event):
                raise self._wrong(f"an impossible event: {placed}", offset)
            yield from split(runs[at : placed.before])
            yield placed.event
            at = placed.before
        yield from split(runs[at:])


def is_valid(event: MapEvent) -> bool:
    """Whether an event is whole pages within 64 bits of address, with rights that exist."""
    whole = event.start % (1 << PAGE_SHIFT) == 0 and event.length % (1 << PAGE_SHIFT) == 0
    inside = event.start >= 0 and event.length >= 0 and event.start + event.length <= 1 << 64
    return whole and inside and (event.prot == "none" or set(event.prot) <= set("rwx"))


def split(runs: Runs) -> Iterator[Runs]:
    for start in range(0, len(runs), MAX_ITEM):
        yield runs[start : start + MAX_ITEM]
