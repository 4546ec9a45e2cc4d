"""Socket files: private, all or none, never somebody else's, and gone afterwards."""

from __future__ import annotations

import os
import re
import socket
import stat
from pathlib import Path

import pytest

from vmem import ConfigError
from vmem.qmp.sockets import Sockets


def test_made_and_removed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    mask = os.umask(0)
    try:
        with Sockets(tmp_path, ["a", "b"]) as sockets:
            assert sorted(path.name for path in tmp_path.iterdir()) == ["a.qmp", "b.qmp"]
            for path in tmp_path.iterdir():
                assert stat.S_ISSOCK(path.stat().st_mode) and stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(sockets.path("a")))
            sockets.close("b")
            assert [path.name for path in tmp_path.iterdir()] == ["a.qmp"]
    finally:
        assert os.umask(mask) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "a.qmp"))
    with Sockets(tmp_path, ["a"]) as sockets, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(sockets.path("a")))
    assert list(tmp_path.iterdir()) == []


def test_all_or_none(tmp_path: Path) -> None:
    """What is in the way stays as it is, and nothing else is left."""
    with Sockets(tmp_path, ["b"]):
        with pytest.raises(ConfigError, match=r"b\.qmp: in use by another server"), Sockets(tmp_path, "abc"):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["b.qmp"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "b.qmp"))
    (tmp_path / "b.qmp").write_text("precious")
    with pytest.raises(ConfigError, match=r"b\.qmp: exists and is no socket"), Sockets(tmp_path, "abc"):
        pass
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_only_its_own_files_are_removed(tmp_path: Path) -> None:
    with Sockets(tmp_path, "abc"):
        (tmp_path / "a.qmp").unlink()
        (tmp_path / "b.qmp").unlink()
        (tmp_path / "b.qmp").write_text("another's")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["another's"]


def test_a_directory_that_goes_away(tmp_path: Path) -> None:
    directory = tmp_path / "short-lived"
    directory.mkdir()
    with Sockets(directory, "a"):
        (directory / "a.qmp").unlink()
        directory.rmdir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=rf"--dir: '.*{name}'; accepted is a directory that exists"):
        Sockets(tmp_path / name, "a")


def test_a_directory_that_takes_no_sockets() -> None:
    """/proc takes nobody's files, not even root's."""
    with pytest.raises(ConfigError, match=r"^/proc/a\.qmp: .*; accepted is a directory to make sockets in$"):
        Sockets(Path("/proc"), "a").__enter__()


def test_an_unreadable_directory(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may everything")
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="Permission denied"):
        Sockets(tmp_path, "a").__enter__()
    tmp_path.chmod(0)
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path))):
        Sockets(tmp_path, "a").__enter__()
    tmp_path.chmod(0o700)


def test_the_longest_path(tmp_path: Path) -> None:
    room = 107 - len(os.fsencode(tmp_path)) - len("/.qmp")
    assert room > 10
    with Sockets(tmp_path, ["x" * room]) as sockets, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(sockets.path("x" * room)))
    with pytest.raises(ConfigError, match="has 108 bytes; accepted are sockets' paths of at most 107"):
        Sockets(tmp_path, ["x" * (room + 1)])
    with pytest.raises(ConfigError, match="has 108 bytes"):
        Sockets(tmp_path, ["x" * (room - 1) + "é"])
    assert list(tmp_path.iterdir()) == []
