"""numpy arrays: in memory, as a pair of .npy files, or as one .npz."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from vmem.errors import ConfigError, TraceError
from vmem.traces.model import FETCH, Item, Progress, References, Totals
from vmem.traces.parsed import open_member, open_zip, read_member
from vmem.traces.source import SUFFIXES, Source

_BATCH = 1 << 17
"""References of one item."""

NPY_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 4096
_Read = Callable[[int], bytes]
"""Reads exactly so many bytes, or all that are left if those are fewer."""


class ArraysReader:
    """References that are already in memory. The arrays are not copied."""

    format = "arrays"
    compact = False

    def __init__(self, addresses: Any, kinds: Any) -> None:
        addresses, kinds = np.asarray(addresses), np.asarray(kinds)
        for name, array, dtype in (("addresses", addresses, np.uint64), ("kinds", kinds, np.uint8)):
            if array.dtype != dtype or array.ndim != 1:
                raise ConfigError(
                    f"{name}: {array.dtype}, {array.ndim} dimensions; accepted is {np.dtype(dtype)}[n]"
                )
        if len(addresses) != len(kinds):
            raise ConfigError(
                f"{len(addresses)} addresses but {len(kinds)} kinds; accepted is one kind for each address"
            )
        if len(kinds) and int(kinds.max()) > FETCH:
            raise ConfigError(f"kind {int(kinds.max())}; accepted are 0 load, 1 store, 2 fetch")
        self._addresses, self._kinds = addresses, kinds

    def items(self, progress: Progress | None) -> Iterator[Item]:
        for start in range(0, len(self._kinds), _BATCH):
            part = slice(start, start + _BATCH)
            yield References(self._addresses[part], self._kinds[part])
            if progress is not None:
                progress(min(start + _BATCH, len(self._kinds)) * 9, len(self._kinds) * 9)

    def totals(self) -> Totals | None:
        return None

    def details(self) -> dict[str, str]:
        return {}


class NpyPair:
    """X.addresses.npy beside X.kinds.npy, either plain or compressed."""

    format = "npy"
    compact = False

    def __init__(self, path: Path) -> None:
        self._addresses = path
        self._kinds = _partner(path)

    def items(self, progress: Progress | None) -> Iterator[Item]:
        with Source(self._addresses) as addresses, Source(self._kinds) as kinds:
            for item in _pairs(addresses.read_exactly, kinds.read_exactly, self._addresses, self._kinds):
                yield item
                if progress is not None:
                    progress(addresses.position, addresses.size)

    def totals(self) -> Totals | None:
        return None

    def details(self) -> dict[str, str]:
        with Source(self._addresses) as source:
            return {"compression": source.compression or "none", "kinds": self._kinds.name}


def _partner(path: Path) -> Path:
    """The file of kinds that belongs to a file of addresses."""
    plain = next((path.name.removesuffix(s) for s in SUFFIXES if path.name.endswith(s)), path.name)
    if not plain.endswith(".addresses.npy"):
        raise TraceError(
            "a .npy trace is a pair named X.addresses.npy and X.kinds.npy; open the former", path=path
        )
    stem = path.with_name(plain.removesuffix(".addresses.npy") + ".kinds.npy")
    candidates = [stem, *(stem.with_name(stem.name + suffix) for suffix in SUFFIXES)]
    found = next((candidate for candidate in candidates if candidate.exists()), None)
    if found is None:
        raise TraceError(f"the kinds that belong to it are missing: no file {stem.name}", path=path)
    return found


class Npz:
    """One .npz with the members `addresses` and `kinds`."""

    format = "npz"
    compact = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def items(self, progress: Progress | None) -> Iterator[Item]:
        with ExitStack() as stack:
            archive = stack.enter_context(open_zip(self.path))
            addresses, kinds = (self._member(archive, name, stack) for name in ("addresses.npy", "kinds.npy"))
            done, total = 0, archive.getinfo("addresses.npy").file_size
            for item in _pairs(addresses, kinds, self.path, self.path):
                yield item
                done += item.addresses.nbytes
                if progress is not None:
                    progress(done, total)

    def _member(self, archive: zipfile.ZipFile, name: str, stack: ExitStack) -> _Read:
        if name not in archive.namelist():
            raise TraceError(f"no array {name.removesuffix('.npy')!r} in the .npz", path=self.path, offset=0)
        member = archive.getinfo(name)
        stream = stack.enter_context(open_member(archive, member, self.path))
        return lambda count: read_member(stream, count, self.path, member)

    def totals(self) -> Totals | None:
        return None

    def details(self) -> dict[str, str]:
        return {"compression": "zip"}


def _pairs(read_addresses: _Read, read_kinds: _Read, path: Path, kinds_path: Path) -> Iterator[References]:
    count, offset = _read_header(read_addresses, "<u8", path)
    kind_count, kind_offset = _read_header(read_kinds, "|u1", kinds_path)
    if count != kind_count:
        raise TraceError(f"{count} addresses but {kind_count} kinds", path=kinds_path, offset=0)
    for start in range(0, count, _BATCH):
        batch = min(_BATCH, count - start)
        addresses = np.frombuffer(_whole(read_addresses, batch * 8, path, offset + start * 8), dtype="<u8")
        kinds = np.frombuffer(_whole(read_kinds, batch, kinds_path, kind_offset + start), dtype=np.uint8)
        wrong = np.flatnonzero(kinds > FETCH)
        if len(wrong):
            message = f"kind {kinds[wrong[0]]}; accepted are 0 load, 1 store, 2 fetch"
            raise TraceError(message, path=kinds_path, offset=kind_offset + start + int(wrong[0]))
        yield References(addresses, kinds)
    for read, where, end in (
        (read_addresses, path, offset + count * 8),
        (read_kinds, kinds_path, kind_offset + count),
    ):
        if read(1):
            raise TraceError("bytes after the end of the array", path=where, offset=end)


def _whole(read: _Read, count: int, path: Path, offset: int) -> bytes:
    data = read(count)
    if len(data) < count:
        raise TraceError("the array ends early: the file is cut short", path=path, offset=offset + len(data))
    return data


def _read_header(read: _Read, dtype: str, path: Path) -> tuple[int, int]:
    """(number of elements, offset of the first) of an .npy stream. Only what a trace may be is understood."""
    start = read(8)
    if len(start) < 8 or not start.startswith(NPY_MAGIC) or start[6] not in (1, 2, 3):
        raise TraceError("not an .npy array", path=path, offset=0)
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(read(width), "little")
    if length > _MAX_HEADER:
        raise TraceError(f"an .npy header of {length} bytes; at most {_MAX_HEADER}", path=path, offset=8)
    header = _whole(read, length, path, 8 + width).decode("latin-1")
    descr = re.search(r"'descr': '([^']*)'", header)
    shape = re.search(r"'shape': \((\d{1,18}),\)", header)
    if descr is None or descr[1] != dtype or shape is None or "'fortran_order': False" not in header:
        message = f"an array of another sort: {header.strip()[:100]}; accepted is one dimension of {dtype!r}"
        raise TraceError(message, path=path, offset=8 + width)
    return int(shape[1]), 8 + width + length
