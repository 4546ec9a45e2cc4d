"""Traces that are missing, cut short, damaged or something else: TraceError names the file and the byte,
never a wrong result.
"""

from __future__ import annotations

import gzip
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vmem import Hypervisor, Process, Trace, TraceError
from vmem.traces import References, convert, shipped

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}


def small_trace() -> Trace:
    rng = np.random.default_rng(5)
    pages = rng.integers(0, 40, 300, dtype=np.uint64) + np.uint64(0x400)
    return Trace.from_arrays(pages * np.uint64(4096) + np.uint64(8), rng.integers(0, 3, 300, dtype=np.uint8))


def everything(path: Path) -> list[tuple[object, ...]]:
    """All items of the trace in a file, comparable."""
    items: list[tuple[object, ...]] = []
    for item in Trace.open(path):
        parts = item if isinstance(item, References) else (item,)
        items.append(tuple(part.tolist() if isinstance(part, np.ndarray) else part for part in parts))
    return items


def rejected(path: Path, *, offset: bool = True) -> TraceError:
    """Reads the file, which must be refused by an error that names it, and the byte."""
    with pytest.raises(TraceError) as caught:
        everything(path)
    error = caught.value
    assert error.path == str(path)
    assert str(path) in str(error)
    if offset:
        assert isinstance(error.offset, int)
        assert f"at byte {error.offset}" in str(error)
    return error


def test_missing(tmp_path: Path) -> None:
    error = rejected(tmp_path / "no.vmt", offset=False)
    assert "no such file; the shipped traces are" in str(error)
    assert all(name in str(error) for name in shipped())
    assert "accepted is a trace file" in str(rejected(tmp_path, offset=False))


@pytest.mark.parametrize(
    "name", ["t.vmt", "t.lackey", "t.npz", "t.zip", "t.champsim", "t.gz", "t.xz", "t.zst"]
)
def test_empty(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    error = rejected(path)
    assert "the file is empty" in str(error)
    assert error.offset == 0


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("picture.vmt", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("program.vmt", b"\x7fELF" + bytes(range(256))),
        ("letter.lackey", b"Dear Sir or Madam,\nI write to you\n"),
        ("page.trace", b"<html><body>404 not found</body></html>\n"),
    ],
)
def test_something_else(name: str, contents: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(contents)
    assert "ccepted" in str(rejected(path)), "says what a trace looks like"


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_names_do_not_matter_contents_do(suffix: str, tmp_path: Path) -> None:
    """A text trace called .vmt is the text trace it is; a .gz that is not compressed is read as it is."""
    text, named = tmp_path / "t.lackey", tmp_path / f"t.vmt{suffix}"
    convert(small_trace(), text)
    named.write_bytes(text.read_bytes())
    assert everything(named) == everything(text)


@pytest.mark.parametrize("codec", ["stored", "xz", "zstd"])
def test_every_cut_and_every_flipped_byte_of_a_compact_trace_is_noticed(codec: str, tmp_path: Path) -> None:
    from vmem.traces.vmt_writer import VmtWriter

    whole, broken = tmp_path / "whole.vmt", tmp_path / "broken.vmt"
    with VmtWriter(whole, codec) as writer:  # type: ignore[arg-type]
        for item in small_trace().compacted():
            writer.add_runs(item)  # type: ignore[arg-type]
        writer.finish(command=["a program"], recorder="a test")
    data = whole.read_bytes()
    assert everything(whole)
    for length in range(1, len(data)):
        broken.write_bytes(data[:length])
        assert rejected(broken).offset <= length
    for index in range(len(data)):
        flipped = bytearray(data)
        flipped[index] ^= 1 << index % 8
        broken.write_bytes(flipped)
        rejected(broken)
    broken.write_bytes(data + b"\0")
    assert "after the end" in str(rejected(broken))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_every_cut_of_a_compressed_trace_is_noticed(suffix: str, tmp_path: Path) -> None:
    plain, broken = tmp_path / "t.din", tmp_path / f"t.din{suffix}"
    convert(small_trace(), plain)
    data = COMPRESS[suffix](plain.read_bytes())
    broken.write_bytes(data)
    assert everything(broken) == everything(plain)
    # A file of less than the magic bytes is not known to be compressed; it is refused as no trace at all.
    for length in range(1, len(data)):
        broken.write_bytes(data[:length])
        rejected(broken)
    broken.write_bytes(data + b"something else")
    rejected(broken)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_damaged_compression_is_noticed_or_harmless(suffix: str, tmp_path: Path) -> None:
    """A flipped byte may hit what does not matter (a date); what is read must be the truth."""
    path = tmp_path / f"t.din{suffix}"
    convert(small_trace(), path)
    truth, data = everything(path), path.read_bytes()
    noticed = []
    for index in range(len(data)):
        flipped = bytearray(data)
        flipped[index] ^= 0x55
        path.write_bytes(flipped)
        try:
            items = everything(path)
        except TraceError as error:
            noticed.append(str(error))
        else:
            assert items == truth
    assert len(noticed) > 0.9 * len(data)
    assert all(str(path) in message for message in noticed)


@pytest.mark.parametrize(
    ("format", "contents", "offset"),
    [
        ("lackey", b"I  04001090,3\n S 1ffefffe28,8\n X nonsense\n L 04222cac,8\n", 30),
        ("din", b"2 400000\n0 7fff10\n9 7fff18\n", 18),
        ("classic", b"0041f7a0 R\n13f5e2c0 Q\n", 11),
        ("champsim", bytes(64) * 2 + b"abc", 128),
    ],
)
def test_the_offset_is_that_of_the_first_wrong_record(
    format: str, contents: bytes, offset: int, tmp_path: Path
) -> None:
    for suffix, compress in {"": lambda data: data, **COMPRESS}.items():
        path = tmp_path / f"t.{format}{suffix}"
        path.write_bytes(compress(contents))
        with pytest.raises(TraceError) as caught:
            list(Trace.open(path, format=format))
        assert caught.value.offset == offset
        assert str(path) in str(caught.value)


def test_arrays_in_files(tmp_path: Path) -> None:
    addresses, kinds = tmp_path / "t.addresses.npy", tmp_path / "t.kinds.npy"
    np.save(addresses, np.zeros(4, np.uint64))
    assert "t.kinds.npy" in str(rejected(addresses, offset=False))
    for wrong, text in [
        (np.zeros(4, np.int64), r"'<i8'.*accepted is one dimension of '\|u1'"),
        (np.zeros((2, 2), np.uint8), r"\(2, 2\).*accepted is one dimension"),
        (np.zeros(3, np.uint8), "4 addresses but 3 kinds"),
        (np.full(4, 3, np.uint8), "kind 3; accepted are 0 load"),
    ]:
        np.save(kinds, wrong)
        with pytest.raises(TraceError, match=text) as caught:
            everything(addresses)
        assert str(tmp_path) in str(caught.value)
    np.save(kinds, np.zeros(4, np.uint8))
    assert len(everything(addresses)) == 1
    data = addresses.read_bytes()
    addresses.write_bytes(data[:-1])
    rejected(addresses)


def test_a_damaged_trace_leaves_the_process_usable(
    host: Hypervisor, process: Process, tmp_path: Path
) -> None:
    source = shipped()["stencil"]
    data = bytearray(Path(source).read_bytes())
    data[len(data) * 3 // 4] ^= 1
    path = tmp_path / "stencil.vmt"
    path.write_bytes(data)
    trace = Trace.open(path)
    heap = process.mmap("1MiB", at=0x1000_0000_0000)
    process.write(heap.start, b"before")
    process.load(trace)
    with pytest.raises(TraceError, match="at byte") as caught:
        process.run(trace)
    assert caught.value.path == str(path)
    assert process.read(heap.start, 6) == b"before"
    assert process.run(Trace.open("stencil"), 1000).references == 1000


def test_a_failed_conversion_leaves_nothing_behind(tmp_path: Path) -> None:
    source, target = tmp_path / "in.din", tmp_path / "out.vmt"
    source.write_bytes(b"2 400000\n" * 1000 + b"nonsense\n")
    target.write_bytes(b"what was there before")
    with pytest.raises(TraceError, match="at byte 9000"):
        convert(Trace.open(source), target)
    assert target.read_bytes() == b"what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.din", "out.vmt"]


def test_metadata_is_not_believed(tmp_path: Path) -> None:
    """Totals that claim more than the file holds are found out, even if every checksum is right."""
    from vmem.traces import vmt

    path = tmp_path / "t.vmt"
    convert(small_trace(), path)
    data = path.read_bytes()
    magic, version, shift, zero, size = vmt.FILE_HEADER.unpack_from(data)
    start = vmt.FILE_HEADER.size + vmt.CRC.size
    metadata = json.loads(data[start : start + size])
    metadata["totals"]["loads"] += 1
    packed = json.dumps(metadata).encode()
    header = vmt.FILE_HEADER.pack(magic, version, shift, zero, len(packed))
    checksum = vmt.CRC.pack(vmt.zlib.crc32(header + packed))
    path.write_bytes(header + checksum + packed + data[start + size :])
    assert "other totals than the header says" in str(rejected(path))
