"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import vmem
from vmem.output import atomic_output, check_directory, write_together


def test_atomic_output_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with atomic_output(target) as file:
        file.write(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_output_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def write_half() -> None:
        with atomic_output(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_write_together_makes_directories(tmp_path: Path) -> None:
    write_together(tmp_path / "a" / "b", {"x": b"1", "y": b"2"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "a" / "b").iterdir()} == {
        "x": b"1",
        "y": b"2",
    }


def test_write_together_keeps_other_files(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"kept")
    write_together(tmp_path, {"x": b"1"})
    assert (tmp_path / "other").read_bytes() == b"kept"


def test_write_together_where_a_directory_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out" / "b").mkdir(parents=True)
    with pytest.raises(OSError, match="b"):
        write_together(tmp_path / "out", {"a": b"1", "b": b"2"})
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_check_directory(tmp_path: Path) -> None:
    check_directory(tmp_path)
    check_directory(tmp_path / "new" / "deep")
    (tmp_path / "file").write_text("")
    with pytest.raises(vmem.ConfigError, match=r"file' is not a directory"):
        check_directory(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_check_directory_that_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(vmem.ConfigError, match="no permission"):
        check_directory(tmp_path / "new")
