"""Build systems find the installed vmem: by flags, CMake and pkg-config."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vmem

from .conftest import ROOT, ask

EXAMPLES = ROOT / "examples" / "embed"


def test_everything_is_where_it_is_said_to_be(installed: Path) -> None:
    assert vmem.get_library().is_file()
    assert (vmem.get_include() / "vmem" / "vmem.h").is_file()
    assert (vmem.get_include() / "vmem" / "host.hpp").is_file()
    assert (vmem.get_cmake_dir() / "vmemConfig.cmake").is_file()
    assert (vmem.get_pkgconfig_dir() / "vmem.pc").is_file()


def test_the_command_answers_build_scripts(installed: Path) -> None:
    assert ask("--cflags") == f"-I{vmem.get_include()}"
    assert ask("--libs").startswith(f"-L{installed} -lvmem ")
    assert ask("--cmakedir") == str(vmem.get_cmake_dir())
    assert ask("--cflags", "--library") == f"-I{vmem.get_include()} {vmem.get_library()}"
    assert "vmem" in ask("--version")


def test_what_is_not_installed_is_said(tmp_path: Path) -> None:
    """A vmem that is only on the path has no library; the message says so, without a traceback."""
    package = tmp_path / "vmem"
    package.mkdir()
    for name in ("__main__.py", "embedding.py", "errors.py"):
        shutil.copy(ROOT / "python" / "vmem" / name, package)
    (package / "__init__.py").touch()
    (package / "_core.py").write_text("class Error(Exception): pass\ndef __getattr__(name): return Error\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-S", "-m", "vmem", "--libs"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "was not installed" in done.stderr and "Traceback" not in done.stderr


def test_cmake_finds_it(installed: Path, tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("there is no cmake")
    configure = ["cmake", "-S", str(EXAMPLES), "-B", str(tmp_path), f"-Dvmem_DIR={ask('--cmakedir')}"]
    subprocess.run(configure, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", str(tmp_path)], check=True, capture_output=True)
    outputs = [
        subprocess.run(
            [str(tmp_path / f"trace_cpu_{language}")],
            input=" L 1000,8\n S 2000,8\n",
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for language in ("c", "cpp")
    ]
    assert outputs[0] == outputs[1] and "page_faults 2" in outputs[0]


def test_pkg_config_finds_it(installed: Path) -> None:
    if shutil.which("pkg-config") is None:
        pytest.skip("there is no pkg-config")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(vmem.get_pkgconfig_dir())}

    def answers(*questions: str) -> list[str]:
        command = ["pkg-config", *questions, "vmem"]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.split()

    include, libraries, library = answers("--cflags", "--libs")
    assert Path(include.removeprefix("-I")).samefile(vmem.get_include())
    assert Path(libraries.removeprefix("-L")).samefile(installed)
    assert library == "-lvmem"
    assert answers("--modversion") == [vmem.__version__]
