"""Writes page-compact traces."""

from __future__ import annotations

import lzma
import shutil
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import msgspec
import numpy as np

from vmem import _core
from vmem.errors import ConfigError
from vmem.output import atomic_output
from vmem.traces import vmt
from vmem.traces.model import FETCH, LOAD, RUN_DTYPE, STORE, MapEvent, Region, Runs, Totals, count_kinds

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

Codec = Literal["xz", "zstd", "stored"]

BRIDGE = 1 << 20
"""Regions of one sort with at most so many untouched bytes between them are given as one."""

_MAX_BLOCK_EVENTS = 1 << 14

_XZ_FILTERS = [
    {
        "id": lzma.FILTER_LZMA2,
        "preset": 9 | lzma.PRESET_EXTREME,
        "dict_size": 4 << 20,
        "lc": 3,
        "lp": 0,
        "pb": 0,
    },
]


class VmtWriter:
    """Collects runs and events into blocks; `finish` makes the file appear. Used as a context manager.

    Until then the blocks are in an unnamed file in the same directory, since the header has the totals.
    """

    def __init__(self, path: Path, codec: Codec = "xz") -> None:
        if codec not in vmt.CODECS:
            raise ConfigError(f"codec {codec!r}; accepted are {', '.join(vmt.CODECS)}")
        self._path = path
        self._codec = codec
        self._blocks = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 (closed by __exit__)
        self._runs: list[Runs] = []
        self._held = 0
        self._events: list[vmt.PlacedEvent] = []
        self._touched = _core.TouchedPages()
        self._kinds = np.zeros(3, np.int64)
        self._run_count = self._event_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blocks.close()

    @property
    def references(self) -> int:
        return int(self._kinds.sum())

    def add_event(self, event: MapEvent) -> None:
        if not vmt.is_valid(event):
            raise ConfigError(f"{event}: accepted are whole pages within 64 bits of address")
        if len(self._events) == _MAX_BLOCK_EVENTS:
            self._flush()
        self._events.append(vmt.PlacedEvent(self._held, event))
        self._event_count += 1

    def add_runs(self, runs: Runs) -> None:
        self._touched.add_runs(np.ascontiguousarray(runs))
        self._kinds += count_kinds(runs)
        self._run_count += len(runs)
        while len(runs):
            part = runs[: vmt.MAX_BLOCK_RUNS - self._held]
            runs = runs[len(part) :]
            self._runs.append(part)
            self._held += len(part)
            if self._held == vmt.MAX_BLOCK_RUNS:
                self._flush()

    def take_new_pages(self) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        """Addresses of the pages touched for the first time since the last call."""
        return self._touched.take_new()

    def finish(
        self, *, command: Sequence[str] = (), recorder: str = "", initial: Sequence[MapEvent] = ()
    ) -> vmt.Metadata:
        """Writes the file beside its name and renames it."""
        self._flush()
        self._block(vmt.END, 0, b"", self._codec)
        totals = Totals(
            loads=int(self._kinds[LOAD]),
            stores=int(self._kinds[STORE]),
            fetches=int(self._kinds[FETCH]),
            runs=self._run_count,
            events=self._event_count + len(initial),
            pages=self._touched.count,
            regions=tuple(self.regions(BRIDGE)),
        )
        metadata = vmt.Metadata(
            totals=totals, initial=tuple(initial), command=tuple(command), recorder=recorder
        )
        text = msgspec.json.encode(metadata)
        header = vmt.FILE_HEADER.pack(vmt.MAGIC, vmt.VERSION, vmt.PAGE_SHIFT, 0, len(text))
        with atomic_output(self._path) as file:
            file.write(header + vmt.CRC.pack(zlib.crc32(text, zlib.crc32(header))) + text)
            self._blocks.seek(0)
            shutil.copyfileobj(self._blocks, file, 1 << 20)
        return metadata

    def regions(self, bridge: int) -> list[Region]:
        """What has been touched so far; gaps up to `bridge` bytes are included."""
        return self._touched.regions(bridge)

    def _flush(self) -> None:
        if self._events:
            self._block(vmt.EVENTS, len(self._events), msgspec.json.encode(self._events), self._codec)
        if self._runs or self._events:
            runs = np.concatenate([np.empty(0, RUN_DTYPE), *self._runs])
            self._block(vmt.RUNS, len(runs), _core.encode_runs(runs), self._codec)
        self._runs, self._events, self._held = [], [], 0

    def _block(self, type: int, count: int, payload: bytes, codec: Codec) -> None:
        stored = compress(payload, codec)
        if len(stored) >= len(payload):
            stored, codec = payload, "stored"
        header = vmt.BLOCK_HEADER.pack(type, vmt.CODECS[codec], 0, count, len(payload), len(stored))
        self._blocks.write(header + vmt.CRC.pack(zlib.crc32(stored, zlib.crc32(header))) + stored)


def compress(payload: bytes, codec: Codec) -> bytes:
    if codec == "xz":
        return lzma.compress(payload, lzma.FORMAT_XZ, lzma.CHECK_NONE, filters=_XZ_FILTERS)
    if codec == "zstd":
        return zstd.compress(payload, level=12)
    return payload
