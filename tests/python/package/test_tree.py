"""The source tree: what lies at the top, and that no file has grown beyond reading."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

TOP = {"CMakeLists.txt", "bench", "csrc", "docs", "examples", "pyproject.toml", "python", "tests"}
TEXTS = {"CHANGELOG.md", "LICENSE", "README.md"}
TOOLS = {
    ".ci",
    ".clang-format",
    ".clang-tidy",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    "noxfile.py",
}

LONGEST = 500


def tracked(root: Path) -> list[Path]:
    """Every file that is, or would be, under version control."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    command = [
        "git",
        "-c",
        f"safe.directory={root}",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (root / name).is_file()]


def test_the_top_level_holds_what_it_should(root: Path) -> None:
    found = {file.parts[0] for file in tracked(root)}
    assert found <= TOP | TEXTS | TOOLS
    assert (TOP | TEXTS) - {"examples"} <= found


def test_python_holds_the_package_only(root: Path) -> None:
    assert {file.parts[1] for file in tracked(root) if file.parts[0] == "python"} == {"vmem"}


def test_no_file_is_too_long(root: Path) -> None:
    code = [file for file in tracked(root) if file.suffix in {".py", ".pyi", ".cpp", ".hpp", ".h", ".c"}]
    assert len(code) > 100
    lengths = {file: len((root / file).read_text().splitlines()) for file in code}
    assert {str(file): count for file, count in lengths.items() if count > LONGEST} == {}
