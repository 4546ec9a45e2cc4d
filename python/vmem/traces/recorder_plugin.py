"""Finds the tools that can record a program, and builds the plugin for qemu-user on first use."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from vmem.errors import ConfigError

_SOURCE = Path(__file__).parent.parent / "data" / "recorder" / "recorder.c"
_API_VERSIONS = (1, 2, 3, 4, 5)
"""Versions of QEMU's plugin interface to try: what recorder.c uses of it has not changed, but each QEMU
accepts only some.
"""


def find_qemu() -> str | None:
    """The user-mode emulator of this machine's own architecture, if the recorder knows its system calls."""
    machine = platform.machine()
    return shutil.which(f"qemu-{machine}") if machine in ("x86_64", "aarch64") else None


def find_compiler() -> str | None:
    return next(
        (
            found
            for name in (os.environ.get("CC", ""), "cc", "gcc", "clang")
            if name and (found := shutil.which(name))
        ),
        None,
    )


def find_valgrind() -> str | None:
    return shutil.which("valgrind")


def same_addresses() -> list[str]:
    """The command prefix that switches address randomisation off, or nothing where that is not possible."""
    setarch = shutil.which("setarch")
    if (
        setarch is None
        or subprocess.run([setarch, "-R", "true"], capture_output=True, check=False).returncode != 0
    ):
        return []
    return [setarch, "-R"]


def plugin_for(qemu: str, compiler: str) -> Path:
    """The recorder plugin, built for this QEMU. It is kept in the user's cache directory.

    Raises `ConfigError` with what the compiler or QEMU said if it cannot be built or loaded.
    """
    version = subprocess.run([qemu, "--version"], capture_output=True, check=False).stdout
    key = hashlib.sha256(_SOURCE.read_bytes() + version + compiler.encode()).hexdigest()[:16]
    built = _cache_directory() / f"recorder-{key}.so"
    if built.exists():
        return built
    said = ""
    with tempfile.TemporaryDirectory(dir=built.parent) as directory:
        candidate = Path(directory) / "recorder.so"
        for api in _API_VERSIONS:
            flags = ["-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-DVMEM_PLUGIN_API={api}"]
            said = _said([compiler, *flags, str(_SOURCE), "-o", str(candidate)])
            said = said or _said(
                [qemu, "-plugin", f"{candidate},out=/dev/null", shutil.which("true") or "/bin/true"]
            )
            if not said:
                candidate.replace(built)
                return built
    raise ConfigError(f"cannot build the recorder plugin for {qemu} with {compiler}: {said}")


def _said(command: list[str]) -> str:
    """What a command that failed said; "" if it succeeded."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit status {done.returncode}"


def _cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        directory = (Path(base) if base else Path.home() / ".cache") / "vmem"
        directory.mkdir(parents=True, exist_ok=True)
        if os.access(directory, os.W_OK):
            return directory
    except (OSError, RuntimeError):  # no such home
        pass
    directory = Path(tempfile.gettempdir()) / f"vmem-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory
