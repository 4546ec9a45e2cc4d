"""What runs the runs: processes of this machine, or a Dask cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor

from vmem.errors import ConfigError


def processes(workers: int | None) -> Callable[[], Executor]:
    """A pool of so many processes; None: one for each processor. They leave Ctrl-C to their parent."""
    context = multiprocessing.get_context("spawn")
    return lambda: ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupts)


def _ignore_interrupts() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def dask(address: str) -> Callable[[], Executor]:
    """The cluster at that address. ConfigError where there is none, or no Dask."""
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise ConfigError("--dask: Dask is not installed (pip install 'vmem-sim[dask]')") from None
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError, TimeoutError) as error:
        told = " ".join(str(error).split())[:200]
        raise ConfigError(f"--dask {address!r}: {told}; accepted is a scheduler's address") from None

    def make() -> Executor:
        executor: Executor = client.get_executor(pure=False)
        return executor

    return make
