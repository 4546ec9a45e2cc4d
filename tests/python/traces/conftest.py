"""What the tests of traces share."""

from __future__ import annotations

import gzip
import lzma
import sys
from collections.abc import Callable

import numpy as np
import pytest

from vmem.traces import RUN_DTYPE, MapEvent, References, Trace

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}


@pytest.fixture
def compress() -> Callable[[bytes, str], bytes]:
    """compress(data, suffix) → data in the compression that the suffix names."""
    return lambda data, suffix: COMPRESS[suffix](data)


@pytest.fixture
def some_references() -> References:
    """20,000 references to 300 pages; addresses up to the top of the lower half, kinds mixed, pages
    revisited.
    """
    rng = np.random.default_rng(7)
    pages = rng.integers(0, 1 << 35, 300, dtype=np.uint64) << np.uint64(12)
    chosen = pages[np.repeat(rng.integers(0, 300, 4000), 5)]
    addresses = chosen + rng.integers(0, 4096, 20000, dtype=np.uint64)
    return References(addresses, rng.integers(0, 3, 20000, dtype=np.uint8))


@pytest.fixture
def read_references() -> Callable[[Trace], References]:
    """All single references of a trace, joined."""

    def read(trace: Trace) -> References:
        items = [item for item in trace if isinstance(item, References)]
        empty = References(np.empty(0, np.uint64), np.empty(0, np.uint8))
        return References(*(np.concatenate([part[i] for part in [empty, *items]]) for i in (0, 1)))

    return read


@pytest.fixture
def read_runs() -> Callable[[Trace], np.ndarray]:
    """All runs of a compact trace, joined."""

    def read(trace: Trace) -> np.ndarray:
        runs = [item for item in trace if not isinstance(item, (MapEvent, References))]
        return np.concatenate([np.empty(0, RUN_DTYPE), *runs])

    return read
