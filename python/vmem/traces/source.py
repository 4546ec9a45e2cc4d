"""Bytes of a file, decompressed on the way: gzip, xz and zstd are known by their first bytes, whatever the
file is called.
"""

from __future__ import annotations

import lzma
import os
import sys
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self

from vmem.errors import TraceError

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

CHUNK = 1 << 20
"""Bytes read, and at most decompressed, at once."""

_XZ_MEMORY = 256 << 20
_MAGIC = {b"\x1f\x8b": "gz", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
SUFFIXES = {".gz": "gz", ".xz": "xz", ".zst": "zst"}
_BROKEN = (zlib.error, lzma.LZMAError, zstd.ZstdError)


class _Stream(Protocol):
    """One compressed stream; a file may hold several in a row."""

    @property
    def finished(self) -> bool: ...

    @property
    def unused(self) -> bytes: ...

    def decompress(self, data: bytes, limit: int) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def finished(self) -> bool:
        return self._inflate.eof

    @property
    def unused(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, limit: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, limit)


class _Buffered:
    """xz and zstd keep what they did not consume themselves."""

    def __init__(self, codec: str) -> None:
        self._codec: lzma.LZMADecompressor | zstd.ZstdDecompressor = (
            lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            if codec == "xz"
            else zstd.ZstdDecompressor()
        )

    @property
    def finished(self) -> bool:
        return self._codec.eof

    @property
    def unused(self) -> bytes:
        return self._codec.unused_data

    def decompress(self, data: bytes, limit: int) -> bytes:
        return self._codec.decompress(data, limit)


def compression_of(head: bytes) -> str | None:
    """ "gz", "xz" or "zst" if the file begins like one, else None."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def _stream(codec: str) -> _Stream:
    return _Gzip() if codec == "gz" else _Buffered(codec)


class Source:
    """The decompressed bytes of a file, in order. Memory is bounded whatever the file claims.

    Raises `TraceError` when the file is missing, damaged or cut short. The offset is the one in the
    decompressed data up to which all is well; the message of damaged compression adds how far into the file
    on disk that is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: IO[bytes] = path.open("rb")
            self.size = os.fstat(self._file.fileno()).st_size
            head = self._file.read(8)
            self._file.seek(0)
        except OSError as error:
            raise TraceError(f"cannot open the trace: {error.strerror}", path=path) from None
        self.compression = compression_of(head)
        self._decoder: _Stream | None = _stream(self.compression) if self.compression else None
        self._held = b""
        self.position = 0
        """Bytes of the file on disk consumed so far."""
        self._decompressed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self) -> bytes:
        """The next bytes, about `CHUNK` at most; b"" at the end."""
        if self._decoder is None:
            return self._input()
        while (data := self._decompress()) is not None:
            if data:
                return data
        return b""

    def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes, or all that are left if those are fewer. Allocates only what really
        follows.
        """
        parts = [self._held]
        have = len(self._held)
        while have < count and (data := self.read()):
            parts.append(data)
            have += len(data)
        joined = b"".join(parts)
        self._held = joined[count:]
        return joined[:count]

    def rest(self) -> bytes:
        """What `read_exactly` fetched too much, or the next bytes."""
        held, self._held = self._held, b""
        return held or self.read()

    def _input(self) -> bytes:
        try:
            data = self._file.read(CHUNK)
        except OSError as error:
            raise TraceError(
                f"cannot read the trace: {error.strerror}", path=self.path, offset=self.position
            ) from None
        self.position += len(data)
        return data

    def _decompress(self) -> bytes | None:
        """One step of decompression: may be b""; None is the end."""
        assert self._decoder is not None
        try:
            data = self._next_stream() if self._decoder.finished else self._decoder.decompress(b"", CHUNK)
            if data == b"" and not self._decoder.finished:
                fresh = self._input()
                if not fresh:
                    raise self._damaged("ends early: the file is cut short")
                data = self._decoder.decompress(fresh, CHUNK)
        except (*_BROKEN, EOFError) as error:
            raise self._damaged(f"is damaged ({error})") from None
        self._decompressed += len(data or b"")
        return data

    def _next_stream(self) -> bytes | None:
        """Begins the stream that follows a finished one; None if there is none."""
        assert self._decoder is not None
        assert self.compression is not None
        left = self._decoder.unused.lstrip(b"\x00")  # padding with zeros is allowed
        while len(left) < 8 and (fresh := self._input()):
            left = (left + fresh).lstrip(b"\x00")
        if not left:
            return None
        if compression_of(left[:8]) != self.compression:
            raise self._damaged("has something else after its end")
        self._decoder = _stream(self.compression)
        return self._decoder.decompress(left, CHUNK)

    def _damaged(self, what: str) -> TraceError:
        message = f"the {self.compression} data {what}, {self.position} bytes into the compressed file"
        return TraceError(message, path=self.path, offset=self._decompressed)
