"""What runs the runs: processes of this machine, or a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any, NamedTuple, TypeVar

from vmem.errors import ConfigError

T = TypeVar("T")


class Workers(NamedTuple):
    """What makes an executor, and how many runs it makes at once; None: that may change."""

    make: Callable[[], Executor]
    width: int | None


def processes(workers: int | None) -> Workers:
    """A pool of so many processes; None: one for each processor. They leave Ctrl-C to their parent."""
    context = multiprocessing.get_context("spawn")
    width = workers or os.cpu_count() or 1
    return Workers(
        lambda: ProcessPoolExecutor(width, mp_context=context, initializer=_ignore_interrupts), width
    )


def _ignore_interrupts() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Cluster(Executor):
    """A Dask cluster as an executor that leaves it when it is shut down."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._executor: Executor = client.get_executor(pure=False)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._executor.shutdown(wait=wait)
        self._client.close()


def dask(address: str) -> Workers:
    """The cluster at that address. ConfigError where there is none, or no Dask."""
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise ConfigError("--dask: Dask is not installed (pip install 'vmem-sim[dask]')") from None

    def make() -> Executor:
        try:
            return _Cluster(Client(address, timeout="10s"))
        except (OSError, ValueError, TimeoutError) as error:
            told = " ".join(str(error).split())[:200]
            raise ConfigError(f"--dask {address!r}: {told}; accepted is a scheduler's address") from None

    return Workers(make, None)
