"""Commands that need something of the machine which not every machine has."""

from __future__ import annotations

import platform
import shutil

from vmem.traces import recorder_plugin


class Unavailable(Exception):
    """An example cannot run on this machine; the message says what it lacks."""


def _recorder() -> bool:
    return bool(recorder_plugin.find_qemu() and recorder_plugin.find_compiler()) or bool(
        recorder_plugin.find_valgrind()
    )


def _static_programs() -> bool:
    return (platform.system(), platform.machine()) == ("Linux", "x86_64") and shutil.which("gcc") is not None


NEEDS = {
    "vmem trace record ": (_recorder, "qemu-user and a C compiler, or valgrind"),
    "vmem run --elf ": (_static_programs, "gcc for x86-64 Linux"),
}


def require(commands: list[str]) -> None:
    """Raises `Unavailable` if a command needs what is not here."""
    for start, (has, what) in NEEDS.items():
        if any(command.startswith(start) for command in commands) and not has():
            raise Unavailable(f"needs {what}")
