"""Records a real program: every fetch, load and store, and its mapping calls, as a page-compact trace."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple, Self

import msgspec

from vmem import _core
from vmem.errors import ConfigError
from vmem.traces import recorder_plugin as tools
from vmem.traces.mapped import MappedRanges, initial_mappings
from vmem.traces.model import MapEvent, Runs, Totals
from vmem.traces.parsed import parse
from vmem.traces.vmt_writer import BRIDGE, Codec, VmtWriter

Backend = Literal["auto", "qemu", "lackey"]
BACKENDS = ("auto", "qemu", "lackey")
RecordProgress = Callable[[int], object]
"""Called with the number of references so far."""

_Start = Callable[..., "subprocess.Popen[bytes]"]
_CHUNK = 1 << 20
_NEEDS = (
    "recording needs qemu-user (qemu-x86_64 or qemu-aarch64) and a C compiler, or valgrind; "
    "on Debian: apt install qemu-user gcc, or apt install valgrind"
)


class RecordingResult(msgspec.Struct, frozen=True):
    """What became of a recording. `returncode` is the program's, None if it was stopped at the limit."""

    totals: Totals
    backend: str
    returncode: int | None


class _Plan(NamedTuple):
    backend: Literal["qemu", "lackey"]
    prefix: list[str]


def record(
    command: Sequence[str],
    output: str | PathLike[str],
    *,
    backend: Backend = "auto",
    limit: int | None = None,
    codec: Codec = "xz",
    env: Mapping[str, str] | None = None,
    stdout: int | None = None,
    progress: RecordProgress | None = None,
) -> RecordingResult:
    """Runs `command` and writes what it references to `output`, a .vmt that appears when it is whole.

    `backend`: "qemu" (qemu-user with vmem's plugin: sees mapping calls too), "lackey" (valgrind), "auto" the
    first that is there. `limit` stops the program after about so many references. `env` is its environment,
    this process's if None; `stdout` is as in `subprocess.Popen`, the other standard streams are ours. Raises
    `ConfigError` if nothing can record or the program cannot be run, and then writes nothing.
    """
    path = Path(output)
    if not path.parent.is_dir():
        raise ConfigError(f"output {str(path)!r}: no such directory")
    program = _resolve(list(command))
    plan = _plan(backend)
    with VmtWriter(path, codec) as writer:
        session = _Session(writer, limit, progress)
        run = session.run_qemu if plan.backend == "qemu" else session.run_lackey

        def start(command: list[str], pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, env=env, stdout=stdout, pass_fds=pass_fds)

        returncode = run(plan.prefix, program, start)
        if writer.references == 0:
            raise ConfigError(
                f"nothing was recorded of {command[0]!r}: {plan.backend} ended with status {returncode}"
            )
        initial = (
            initial_mappings(session.initial, writer.regions(0), BRIDGE) if plan.backend == "qemu" else []
        )
        metadata = writer.finish(command=command, recorder=f"vmem, {plan.backend}", initial=initial)
    return RecordingResult(metadata.totals, plan.backend, returncode)


def _plan(backend: Backend) -> _Plan:
    """What to run before the program. Raises `ConfigError` if the backend is not there."""
    if backend not in BACKENDS:
        raise ConfigError(f"backend {backend!r}; accepted are {', '.join(BACKENDS)}")
    qemu, compiler, valgrind = tools.find_qemu(), tools.find_compiler(), tools.find_valgrind()
    if backend != "lackey" and qemu and compiler:
        plugin = tools.plugin_for(qemu, compiler)
        return _Plan("qemu", [*tools.same_addresses(), qemu, "-seed", "1", "-plugin", str(plugin)])
    if backend != "qemu" and valgrind:
        options = ["--tool=lackey", "--trace-mem=yes", "--child-silent-after-fork=yes"]
        return _Plan("lackey", [*tools.same_addresses(), valgrind, *options])
    raise ConfigError(f"nothing can record here with backend {backend!r}: {_NEEDS}")


def _resolve(command: list[str], depth: int = 0) -> list[str]:
    """The command with its program's path; a script becomes a call of its interpreter."""
    if not command:
        raise ConfigError(
            "no program to record; accepted is a command such as: vmem trace record -- /bin/ls -l"
        )
    found = shutil.which(command[0])
    if found is None:
        raise ConfigError(f"program {command[0]!r}: not found, or not executable")
    with Path(found).open("rb") as file:
        start = file.read(256)
    if start.startswith(b"#!") and depth < 4:
        words = start[2:].split(b"\n")[0].decode(errors="replace").split(maxsplit=1)
        return _resolve([*words, found, *command[1:]], depth + 1)
    if not start.startswith(b"\x7fELF"):
        raise ConfigError(f"program {found!r}: not an executable of this system (ELF), nor a script")
    return [found, *command[1:]]


class _Session:
    """One run of the program: feeds what the recorder sends into the writer."""

    def __init__(self, writer: VmtWriter, limit: int | None, progress: RecordProgress | None) -> None:
        self._writer = writer
        self._limit = limit
        self._progress = progress
        self._mapped = MappedRanges()
        self.initial: set[int] = set()
        """Pages touched that no event had mapped when they were first touched: they were there from the
        start.
        """

    def run_qemu(self, prefix: list[str], program: list[str], start: _Start) -> int | None:
        recording = _core.TraceRecording()
        with tempfile.TemporaryDirectory(prefix="vmem-record-") as directory:
            fifo = Path(directory) / "stream"
            os.mkfifo(fifo, 0o600)
            descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            with contextlib.suppress(OSError):  # a larger pipe is only faster
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _CHUNK)
            prefix = [*prefix[:-1], f"{prefix[-1]},out={fifo}"]
            process = start([*prefix, *program])
            left = b""
            with _Ended(process, descriptor) as ended:
                for data in ended.chunks():
                    items, consumed = recording.feed(left + data)
                    left = (left + data)[consumed:]
                    for item in items:
                        if isinstance(item, tuple):
                            kind, at, length, prot, name = item
                            self._add_event(MapEvent(kind, at, length, _prot(kind, prot), name))
                        else:
                            self._add_runs(item)
                            self._note_initial()
                    if recording.complete or self._enough(recording.references):
                        break
                self._add_runs(recording.finish())
                self._note_initial()
                return ended.returncode(stopped=not recording.complete and self._enough(recording.references))

    def run_lackey(self, prefix: list[str], program: list[str], start: _Start) -> int | None:
        reading, writing = os.pipe()
        process = start([*prefix, f"--log-fd={writing}", *program], pass_fds=[writing])
        os.close(writing)
        compactor, references = _core.TraceCompactor(), 0
        with _Ended(process, reading) as ended:
            for item in parse("lackey", ended.chunks(), Path(program[0])):
                self._add_runs(compactor.feed(item.addresses, item.kinds))
                references += len(item.kinds)
                if self._enough(references):
                    break
            self._add_runs(compactor.finish())
            return ended.returncode(stopped=self._enough(references))

    def _add_event(self, event: MapEvent) -> None:
        self._mapped.apply(event)
        self._writer.add_event(event)

    def _add_runs(self, runs: Runs) -> None:
        self._writer.add_runs(runs)
        if self._progress is not None:
            self._progress(self._writer.references)

    def _note_initial(self) -> None:
        self.initial.update(self._mapped.missing(self._writer.take_new_pages()).tolist())

    def _enough(self, references: int) -> bool:
        return self._limit is not None and references >= self._limit


class _Ended:
    """Reads a child's stream; sees to it that the child has ended and the stream is closed, whatever
    happens.
    """

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self._process = process
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._descriptor)

    def chunks(self) -> Iterator[bytes]:
        """What the child sends, until it closes the stream or ends without having opened it."""
        while True:
            ended = self._process.poll() is not None
            ready, _, _ = select.select([self._descriptor], [], [], 0 if ended else 0.1)
            if ready:
                data = os.read(self._descriptor, _CHUNK)
                if not data:
                    return
                yield data
            elif ended:
                return

    def returncode(self, *, stopped: bool) -> int | None:
        """The child's exit status; None if it is stopped instead of waited for."""
        if stopped:
            self._process.kill()
        status = self._process.wait()
        return None if stopped else status


def _prot(kind: str, bits: int) -> str:
    if kind == "munmap":
        return ""
    return "".join(letter for letter, bit in (("r", 1), ("w", 2), ("x", 4)) if bits & bit) or "none"
