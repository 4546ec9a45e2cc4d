"""The sockets of a server: files in a directory, which nobody else may use and which go away with it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from vmem.errors import ConfigError

_LONGEST = 107
"""Bytes of a socket's path, without the zero byte after it (sockaddr_un)."""
_WAITING = 128
"""Clients that connect faster than they are let in."""


class Sockets:
    """A listening socket `DIRECTORY/NAME.qmp` for each name, of mode 0600: all of them, or an error and none.

    A file that a dead server left is replaced; one that somebody serves, or that is no socket, is an error.
    The directory's own mode is left as it is. ConfigError says which path, and why.
    """

    def __init__(self, directory: Path, names: Iterable[str]) -> None:
        self.directory = directory
        self._names = list(names)
        self._open: dict[str, tuple[socket.socket, os.stat_result]] = {}
        for name in self._names:
            self._check_length(self.path(name))
        if not directory.is_dir():
            raise ConfigError(f"--dir: {str(directory)!r}; accepted is a directory that exists")

    def path(self, name: str) -> Path:
        """Where a socket is."""
        return self.directory / f"{name}.qmp"

    def get(self, name: str) -> socket.socket:
        """The listening socket."""
        return self._open[name][0]

    def close(self, name: str) -> None:
        """Removes a socket: the file only if it is still that socket's."""
        opened, made = self._open.pop(name)
        opened.close()
        try:
            now = self.path(name).lstat()
            if (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino):
                self.path(name).unlink()
        except OSError:
            pass  # the file has gone, or its directory

    def __enter__(self) -> Self:
        try:
            with _Locked(self.directory):  # against another server that finds the same files stale
                for name in self._names:
                    self._listen(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._open):
            self.close(name)

    def _check_length(self, path: Path) -> None:
        length = len(os.fsencode(path))
        if length > _LONGEST:
            raise ConfigError(
                f"--dir: {str(path)!r} has {length} bytes; accepted are sockets' paths of at most {_LONGEST}"
            )

    def _listen(self, name: str) -> None:
        path = self.path(name)
        _remove_stale(path)
        try:
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise ConfigError(
                f"{path}: {error.strerror}, after {len(self._open)} sockets (ulimit -n)"
            ) from None
        old_mask = os.umask(0o177)  # the file is private from the moment it is there
        try:
            opened.bind(os.fspath(path))
            self._open[name] = (opened, path.lstat())
            opened.listen(_WAITING)
        except OSError as error:
            opened.close()
            raise ConfigError(
                f"{path}: {error.strerror}; accepted is a directory to make sockets in"
            ) from None
        finally:
            os.umask(old_mask)


class _Locked:
    """A directory that no other server opens sockets in meanwhile."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        try:
            self._handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(
                f"--dir: {str(self._directory)!r}: {error.strerror}; accepted is one to make sockets in"
            ) from None
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _remove_stale(path: Path) -> None:
    """Removes a socket that nobody listens at. ConfigError for anything else that is there."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # nothing is there; or bind says what is wrong
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path}: exists and is no socket; accepted is a path that is free")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            pass
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                raise ConfigError(f"{path}: {error.strerror}; accepted is a path that is free") from None
            raise ConfigError(f"{path}: in use by another server; accepted is another --dir") from None
        else:
            raise ConfigError(f"{path}: in use by another server; accepted is another --dir")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: left by a server that died: {error.strerror}") from None
