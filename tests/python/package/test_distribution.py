"""What was installed from the wheel is the package, its data and the extension: nothing less, nothing
else.
"""

from __future__ import annotations

import json
from importlib import metadata, resources
from pathlib import Path

import pytest

import vmem

DATA = {".py", ".pyi", ".typed", ".vmt", ".toml", ".html", ".css", ".c"}


def installed() -> set[str]:
    """Paths of the installed distribution relative to site-packages."""
    try:
        distribution = metadata.distribution("vmem-sim")
    except metadata.PackageNotFoundError:
        pytest.skip("vmem is not installed, only on the path")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        pytest.skip("an editable installation has no files of its own")
    assert distribution.files is not None
    return {str(file) for file in distribution.files if "__pycache__" not in file.parts}


def test_the_wheel_holds_the_package_and_nothing_else(root: Path) -> None:
    files = installed()
    source = root / "python"
    expected = {
        str(file.relative_to(source))
        for file in (source / "vmem").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".so"
    }
    assert {file.removeprefix("vmem/include/") for file in files if file.startswith("vmem/include/")} == {
        str(file.relative_to(root / "csrc" / "include")) for file in (root / "csrc" / "include").rglob("*.h*")
    }
    # One library under one name: an archive would store links to it as copies.
    libraries = {file for file in files if file.startswith("vmem/lib/") and "cmake" not in Path(file).parts}
    assert libraries == {"vmem/lib/libvmem.so", "vmem/lib/pkgconfig/vmem.pc"}
    files = {file for file in files if not file.startswith(("vmem/include/", "vmem/lib/"))}
    outside = {file for file in files if not file.startswith("vmem/")}
    extensions = {file for file in files if file.startswith("vmem/_core.") and file.endswith(".so")}
    assert len(extensions) == 1
    assert {file for file in files if file.startswith("vmem/")} - extensions == expected
    assert {file for file in expected if Path(file).suffix not in DATA} == set()
    assert {Path(file).parts[0].split("-")[0] for file in outside} - {".."} == {"vmem_sim"}
    assert {Path(file).name for file in outside if file.startswith("..")} == {"vmem"}, (
        "the command and no other file"
    )


def test_types_traces_and_the_recorder_are_there() -> None:
    package = resources.files("vmem")
    for name in ("py.typed", "_core.pyi", "data/recorder/recorder.c"):
        assert package.joinpath(name).is_file(), name
    assert (
        len([file for file in package.joinpath("data/traces").iterdir() if file.name.endswith(".vmt")]) >= 4
    )


def test_the_version_is_the_header_s(root: Path) -> None:
    header = (root / "csrc" / "include" / "vmem" / "version.h").read_text()
    assert f'#define VMEM_VERSION "{vmem.__version__}"' in header
    try:
        assert metadata.version("vmem-sim") == vmem.__version__
    except metadata.PackageNotFoundError:
        pytest.skip("vmem is not installed, only on the path")
