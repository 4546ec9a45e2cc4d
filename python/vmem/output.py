"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vmem.errors import ConfigError


@contextmanager
def atomic_output(path: Path) -> Iterator[IO[bytes]]:
    """A file written beside `path` and renamed to it when the block ends; removed after an exception."""
    beside = _beside(path)
    try:
        with beside.open("wb") as file:
            yield file
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def check_directory(directory: Path) -> None:
    """ConfigError unless files can be written to `directory`, which need not exist yet."""
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ConfigError(f"output directory {str(directory)!r}: {str(existing)!r} is not a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"output directory {str(directory)!r}: no permission to write to {str(existing)!r}")


def write_together(directory: Path, files: Mapping[str, bytes]) -> None:
    """Writes all the files to `directory`, made if missing; they get their names when the last is written.

    After an exception there is nothing new: no file, none of another run replaced, no directory.
    """
    made = _make_directories(directory)
    written: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            beside = _beside(directory / name)
            written.append((beside, directory / name))
            beside.write_bytes(content)
        for beside, path in written:
            beside.replace(path)
    except BaseException:
        for beside, _ in written:
            beside.unlink(missing_ok=True)
        for path in reversed(made):
            with suppress(OSError):  # somebody else's file is in it by now
                path.rmdir()
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _make_directories(directory: Path) -> list[Path]:
    """Those that had to be made, outermost first."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    missing.reverse()
    for path in missing:
        path.mkdir(exist_ok=True)
    return missing
