"""Every format, plain and compressed, is read as what it says."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmem import ConfigError, _core
from vmem.traces import References, Trace, convert

L, S, F = 0, 1, 2
SUFFIXES = ["", ".gz", ".xz", ".zst"]
Read = Callable[[Trace], References]
Compress = Callable[[bytes, str], bytes]

LACKEY = b"""==12== Lackey, an example Valgrind tool
--12-- some message
I  04001090,3
 S 1ffefffe28,8
I  04001d60,1
 L 04222cac,8
 M 1ffefffe20,4
==12== Exit code:       0
"""
LACKEY_REFERENCES = [
    (0x4001090, F),
    (0x1FFEFFFE28, S),
    (0x4001D60, F),
    (0x4222CAC, L),
    (0x1FFEFFFE20, L),
    (0x1FFEFFFE20, S),
]
TEXTS = {
    "lackey": (LACKEY, LACKEY_REFERENCES),
    "classic": (b"0041f7a0 R\n13f5e2c0 W\r\n\n0xABC r", [(0x41F7A0, L), (0x13F5E2C0, S), (0xABC, L)]),
    "kind first": (b"# a comment\nR 0x7fff0010\nW 7fff0018\n", [(0x7FFF0010, L), (0x7FFF0018, S)]),
    "pinatrace": (b"0x7f10: R 0x7ffe0\n0x7f14: W 0x7ffe8\n#eof\n", [(0x7FFE0, L), (0x7FFE8, S)]),
    "din": (
        b"2 400000 first\n0 7fff10\n1 7fff18 comment here\n4 0\n3 1\n",
        [(0x400000, F), (0x7FFF10, L), (0x7FFF18, S)],
    ),
}


def champsim(ip: int, loads: list[int], stores: list[int]) -> bytes:
    memory = [*stores, 0, 0][:2] + [*loads, 0, 0, 0, 0][:4]
    return struct.pack("<QBB2B4B2Q4Q", ip, 1, 0, 1, 2, 3, 4, 5, 6, *memory)


CHAMPSIM = (
    champsim(0x400000, [0x1000, 0x2008], [0x3010])
    + champsim(0x400004, [], [0x4000, 0x5000])
    + champsim(0x400008, [], [])
)
CHAMPSIM_REFERENCES = [
    (0x400000, F),
    (0x1000, L),
    (0x2008, L),
    (0x3010, S),
    (0x400004, F),
    (0x4000, S),
    (0x5000, S),
    (0x400008, F),
]


def entry(type: int, size: int, address: int) -> bytes:
    return struct.pack("<HHQ", type, size, address)


DRMEMTRACE = b"".join(
    [
        entry(25, 0, 4),  # header
        entry(22, 4, 77),  # thread
        entry(28, 2, 12345),  # a marker
        entry(47, 3, 0xC3),  # encoding
        entry(10, 3, 0x401000),
        entry(0, 8, 0x7FFE10),
        entry(17, 3, 0x05_02_04),  # a bundle: instructions of 4, 2 and 5 bytes
        entry(13, 2, 0x40100E),
        entry(1, 4, 0x7FFE18),
        entry(5, 1, 0x123456),  # a prefetch
        entry(29, 2, 0x401010),  # not fetched again
        entry(48, 2, 0x401010),
        entry(26, 0, 0),  # footer
    ]
)
DRMEMTRACE_REFERENCES = [
    (0x401000, F),
    (0x7FFE10, L),
    (0x401003, F),
    (0x401007, F),
    (0x401009, F),
    (0x40100E, F),
    (0x7FFE18, S),
    (0x401010, F),
]


def pairs(references: References) -> list[tuple[int, int]]:
    return list(zip(references.addresses.tolist(), references.kinds.tolist(), strict=True))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", TEXTS)
def test_text(name: str, suffix: str, tmp_path: Path, compress: Compress, read_references: Read) -> None:
    data, expected = TEXTS[name]
    path = tmp_path / f"t.trace{suffix}"
    path.write_bytes(compress(data, suffix))
    trace = Trace.open(path)
    assert trace.format == (name if name in ("lackey", "din") else "classic")
    assert not trace.compact
    assert pairs(read_references(trace)) == expected
    assert trace.details()["compression"] == (suffix[1:] or "none")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("format", "data", "expected"),
    [("champsim", CHAMPSIM, CHAMPSIM_REFERENCES), ("drmemtrace", DRMEMTRACE, DRMEMTRACE_REFERENCES)],
)
def test_binary(
    format: str,
    data: bytes,
    expected: list[tuple[int, int]],
    suffix: str,
    tmp_path: Path,
    compress: Compress,
    read_references: Read,
) -> None:
    path = tmp_path / f"t.{format}trace{suffix}"
    path.write_bytes(compress(data, suffix))
    trace = Trace.open(path)
    assert trace.format == format
    assert pairs(read_references(trace)) == expected
    assert pairs(read_references(trace)) == expected, "a trace can be read again"


def test_a_drmemtrace_zip_is_its_chunks_in_order(tmp_path: Path, read_references: Read) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chunk.0001", DRMEMTRACE[60:])
        archive.writestr("encodings", b"something else")
        archive.writestr("chunk.0000", DRMEMTRACE[:60])
    trace = Trace.open(path)
    assert trace.format == "drmemtrace"
    assert pairs(read_references(trace)) == DRMEMTRACE_REFERENCES


@pytest.mark.parametrize(
    "name",
    [f"t.{format}{suffix}" for format in ("lackey", "din", "addresses.npy") for suffix in SUFFIXES]
    + ["t.npz"],
)
def test_what_is_written_is_read(
    name: str, tmp_path: Path, some_references: References, read_references: Read
) -> None:
    path = tmp_path / name
    convert(Trace.from_arrays(*some_references), path)
    again = read_references(Trace.open(path))
    np.testing.assert_array_equal(again.addresses, some_references.addresses)
    np.testing.assert_array_equal(again.kinds, some_references.kinds)
    assert again.addresses.dtype == np.uint64
    assert again.kinds.dtype == np.uint8
    assert not [left for left in tmp_path.iterdir() if left.name.startswith(".")], "no temporary file is left"


def test_classic_holds_loads_and_stores_only(
    tmp_path: Path, some_references: References, read_references: Read
) -> None:
    with pytest.raises(ConfigError, match=r"holds no fetches.*accepted.*din"):
        convert(Trace.from_arrays(*some_references), tmp_path / "t.trace", format="classic")
    assert list(tmp_path.iterdir()) == []
    data = some_references.kinds != F
    only = References(some_references.addresses[data], some_references.kinds[data])
    convert(Trace.from_arrays(*only), tmp_path / "t.trace", format="classic")
    assert pairs(read_references(Trace.open(tmp_path / "t.trace"))) == pairs(only)


def test_several_compressed_streams_in_a_row_are_one_file(
    tmp_path: Path, compress: Compress, read_references: Read
) -> None:
    data, expected = TEXTS["din"]
    for suffix in (".gz", ".xz", ".zst"):
        path = tmp_path / f"t{suffix}"
        path.write_bytes(compress(data, suffix) + compress(data, suffix))
        assert pairs(read_references(Trace.open(path))) == expected * 2


def test_a_forced_format_overrides_detection(tmp_path: Path, read_references: Read) -> None:
    path = tmp_path / "odd.npy"
    path.write_bytes(TEXTS["din"][0])
    assert pairs(read_references(Trace.open(path, format="din"))) == TEXTS["din"][1]
    with pytest.raises(ConfigError, match=r"'dino'; accepted are vmt, lackey"):
        Trace.open(path, format="dino")


def test_arrays_are_checked() -> None:
    addresses, kinds = np.zeros(3, np.uint64), np.zeros(3, np.uint8)
    wrong = [
        (addresses.astype(np.int64), kinds, "addresses: int64"),
        (addresses, kinds.astype(np.int64), "kinds: int64"),
        (addresses.reshape(3, 1), kinds, "2 dimensions"),
        (addresses, kinds[:2], "3 addresses but 2 kinds"),
        (addresses, kinds + np.uint8(3), "kind 3"),
    ]
    for bad_addresses, bad_kinds, message in wrong:
        with pytest.raises(ConfigError, match=message):
            Trace.from_arrays(bad_addresses, bad_kinds)


@given(
    st.sampled_from(["lackey", "din", "champsim", "drmemtrace"]), st.lists(st.integers(1, 40), max_size=40)
)
def test_parsing_does_not_depend_on_how_the_bytes_arrive(format: str, sizes: list[int]) -> None:
    data = {"lackey": LACKEY, "din": TEXTS["din"][0], "champsim": CHAMPSIM, "drmemtrace": DRMEMTRACE}[format]
    parser = _core.TraceParser(format)
    stream, left, found = io.BytesIO(data), b"", []
    for size in [*sizes, len(data)]:
        left += stream.read(size)
        addresses, kinds, consumed, error = parser.feed(left, False)
        assert error is None
        found += pairs(References(addresses, kinds))
        left = left[consumed:]
    addresses, kinds, consumed, error = parser.feed(left, True)
    assert (error, consumed) == (None, len(left))
    found += pairs(References(addresses, kinds))
    expected = {
        "lackey": LACKEY_REFERENCES,
        "din": TEXTS["din"][1],
        "champsim": CHAMPSIM_REFERENCES,
        "drmemtrace": DRMEMTRACE_REFERENCES,
    }
    assert found == expected[format]
