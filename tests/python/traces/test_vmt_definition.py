"""docs/formats/vmt.md is enough: a reader written from it alone reads what vmem's own reader reads."""

from __future__ import annotations

import json
import lzma
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import vmem
from vmem.traces import MapEvent, shipped

PLACES = 63


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _numbers(column: bytes) -> Iterator[int]:
    at = 0
    while at < len(column):
        value, at = _varint(column, at)
        yield value


def _columns(payload: bytes) -> list[bytes]:
    at, lengths = 0, []
    for _ in range(6):
        length, at = _varint(payload, at)
        lengths.append(length)
    columns = []
    for length in lengths:
        columns.append(payload[at : at + length])
        at += length
    return columns


def _runs(payload: bytes, count: int) -> Iterator[tuple[int, int, int, int]]:
    """(page number, kind, loads, stores)"""
    tokens, *rest = _columns(payload)
    pages, fetches, loads, mixed, stores = map(_numbers, rest)
    recent = {True: [0] * PLACES, False: [0] * PLACES}
    for token in tokens[:count]:
        kind, place = token & 3, token >> 2
        stream = recent[kind == 2]
        if place < PLACES:
            page = stream.pop(place)
        else:
            coded = next(pages)
            page = stream[0] + (coded // 2 if coded % 2 == 0 else -(coded + 1) // 2)
            stream.pop()
        stream.insert(0, page)
        if kind == 2:
            yield page, kind, next(fetches) + 1, 0
        elif kind == 0:
            yield page, kind, next(loads) + 1, 0
        else:
            yield page, kind, next(mixed), next(stores) + 1


def _read(path: Path, most: int) -> Iterator[tuple[object, ...]]:
    """Events and the first `most` runs of a file whose blocks are compressed with xz, in order."""
    data = path.read_bytes()
    assert data[:8] == bytes.fromhex("89564d540d0a1a0a")
    version, shift, zero, length = struct.unpack("<HBBI", data[8:16])
    assert (version, shift, zero) == (1, 12, 0)
    metadata = data[20 : 20 + length]
    assert struct.unpack("<I", data[16:20])[0] == zlib.crc32(data[:16] + metadata)
    yield from (("event", *event) for event in json.loads(metadata)["initial"])
    at, events = 20 + length, []
    while most:
        kind, compression, _, records, raw, stored = struct.unpack("<BBHIII", data[at : at + 16])
        body = data[at + 20 : at + 20 + stored]
        assert struct.unpack("<I", data[at + 16 : at + 20])[0] == zlib.crc32(data[at : at + 16] + body)
        at += 20 + stored
        payload = lzma.decompress(body) if compression == 1 else body
        assert len(payload) == raw
        if kind == 0:
            return
        if kind == 2:
            events = json.loads(payload)
            continue
        for number, run in enumerate(_runs(payload, min(records, most))):
            while events and events[0][0] <= number:
                yield "event", *events.pop(0)[1]
            yield "run", *run
        most -= min(records, most)


def _ours(name: str, most: int) -> Iterator[tuple[object, ...]]:
    for item in vmem.Trace.open(name):
        if isinstance(item, MapEvent):
            yield "event", item.kind, item.start, item.length, item.prot, item.name
            continue
        for page, loads, stores in item.tolist()[:most]:  # type: ignore[union-attr]
            yield "run", page >> 12, page & 3, loads, stores
        most -= min(most, len(item))
        if not most:
            return


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_reader_from_the_definition(name: str) -> None:
    most = 100_000
    theirs, ours = list(_read(shipped()[name], most)), list(_ours(name, most))
    assert len(ours) > most
    assert theirs == ours
