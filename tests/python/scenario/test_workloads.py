"""Synthetic programs: what they reference, and that it is the same everywhere and always."""

from __future__ import annotations

import numpy as np
import pytest

from reference import workloads as model
from reference.workloads import hashed, inverse_powers
from vmem.decode import Place
from vmem.scenario.workloads import KINDS as ALL_KINDS
from vmem.scenario.workloads import Stream, decode_workload
from vmem.traces import References

BASE = 1 << 32
KINDS = [name for name, kind in ALL_KINDS.items() if issubclass(kind, Stream)]
MIXED = [name for name in KINDS if name != "random-update"]
NEEDED = {"hot-cold": {"hot": "400KiB", "phase": 40_000}}


def _workload(kind: str, **keys: object) -> Stream:
    needed = NEEDED.get(kind, {})
    found = decode_workload(
        {"kind": kind, "size": "4MiB", "references": 300_000, **needed, **keys}, Place("file")
    )
    assert isinstance(found, Stream)
    return found


def _references(workload: Stream, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    items = [item for item in workload.trace(BASE, seed) if isinstance(item, References)]
    return np.concatenate([item.addresses for item in items]), np.concatenate([item.kinds for item in items])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("references", [1, 131_072, 131_073, 300_000])
def test_as_many_as_asked_and_inside(kind: str, references: int) -> None:
    addresses, kinds = _references(_workload(kind, references=references))
    assert len(addresses) == len(kinds) == references
    assert addresses.dtype == np.uint64 and kinds.dtype == np.uint8
    assert addresses.min() >= BASE and addresses.max() < BASE + (4 << 20)
    assert np.all(addresses % 8 == 0)


@pytest.mark.parametrize("kind", MIXED)
@pytest.mark.parametrize("writes", [0, 0.0, 0.25, 1, 1.0])
def test_share_of_stores(kind: str, writes: float) -> None:
    _, kinds = _references(_workload(kind, writes=writes))
    assert set(np.unique(kinds)) <= {0, 1}
    # 300,000 draws: five standard deviations are below 0.005.
    assert kinds.mean() == pytest.approx(writes, abs=0.005 if 0 < writes < 1 else 0)


def test_sequential_and_stride() -> None:
    addresses, _ = _references(_workload("sequential", size="1MiB"))
    assert np.array_equal(addresses - BASE, np.arange(300_000) * 8 % (1 << 20))
    addresses, _ = _references(_workload("stride", size="1MiB", step="12KiB"))
    assert np.array_equal(addresses - BASE, np.arange(300_000) * 12288 % (1 << 20))


def test_uniform_is_uniform() -> None:
    addresses, _ = _references(_workload("uniform"))
    counts = np.bincount((addresses - BASE) >> 12, minlength=1024)
    expected = 300_000 / 1024
    # Chi-squared with 1,023 degrees of freedom: mean 1,023, standard deviation 45.
    assert ((counts - expected) ** 2 / expected).sum() < 1023 + 6 * 45


@pytest.mark.parametrize("skew", [0.5, 0.99, 2])
def test_zipf_is_zipf(skew: float) -> None:
    addresses, _ = _references(_workload("zipf", skew=skew))
    counts = np.sort(np.bincount((addresses - BASE) >> 12, minlength=1024))[::-1]
    expected = np.arange(1, 1025) ** -float(skew)
    expected *= 300_000 / expected.sum()
    for ranks in (slice(0, 1), slice(0, 10), slice(0, 100), slice(100, 1024)):
        draws = expected[ranks].sum()
        assert counts[ranks].sum() == pytest.approx(draws, abs=6 * np.sqrt(draws) + 0.05 * draws)


def test_popular_pages_are_scattered() -> None:
    addresses, _ = _references(_workload("zipf", size="256MiB"))
    pages, counts = np.unique((addresses - BASE) >> 12, return_counts=True)
    popular = pages[np.argsort(counts)[::-1][:64]]
    assert len(np.unique(popular >> 9)) > 32  # 2 MiB regions, of 128


def test_zipf_over_more_pages_than_ranks() -> None:
    addresses, _ = _references(_workload("zipf", size="3GiB", skew=0.2))
    pages = (addresses - BASE) >> 12
    assert pages.max() < 3 << 18
    assert len(np.unique(pages % 3)) == 3
    assert len(np.unique(pages)) > 200_000


def test_streams() -> None:
    """Equal for the same place of a process in equal VM tables; different for others."""
    workload = _workload("uniform")
    assert workload.stream(1, 0, 0) == workload.stream(1, 0, 0)
    others = {workload.stream(*place) for place in ((1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 1, 1))}
    assert len(others) == 5
    own = _workload("uniform", seed=7)
    assert own.stream(1, 0, 0) == own.stream(2, 0, 0) == workload.stream(7, 0, 0)


GOLDEN = {
    "zipf": [0x100215870, 0x10032BB60, 0x10038AF10, 0x100049628],
    "uniform": [0x1002CA7B0, 0x10015F878, 0x1003D2AF0, 0x1001F2058],
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_bits_never_change(kind: str) -> None:
    """Results of earlier versions must come out again, on every machine."""
    addresses, _ = _references(_workload(kind, size="4MiB"), seed=42)
    assert [hex(address) for address in addresses[:4].tolist()] == [hex(address) for address in GOLDEN[kind]]


def test_hash_is_splitmix64() -> None:
    """The stream of a seed is splitmix64's stream, begun at a hash of that seed."""

    def splitmix64(state: int) -> tuple[int, int]:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return state, z ^ z >> 31

    # The generator's published first output for the state 0.
    assert splitmix64(0)[1] == 0xE220A8397B1DCDAF
    _, state = splitmix64(5)
    expected = []
    state = (state - 0x9E3779B97F4A7C15) % 2**64
    for _ in range(100):
        state, value = splitmix64(state)
        expected.append(value)
    assert hashed(5, np.arange(100, dtype=np.uint64)).tolist() == expected


@pytest.mark.parametrize("exponent", [0.001, 0.5, 0.99, 1, 2, 7.9])
def test_inverse_powers(exponent: float) -> None:
    expected = np.arange(1, 100_001, dtype=np.float64) ** -exponent
    assert np.allclose(inverse_powers(100_000, exponent), expected, rtol=1e-12, atol=0)


POSITIONS = np.arange(300_000, dtype=np.uint64)
MODELS = {
    "uniform": lambda size, seed: model.uniform(size, seed, POSITIONS),
    "zipf": lambda size, seed: model.zipf(size, 0.99, seed, POSITIONS),
    "sequential": lambda size, seed: model.strided(size, 8, POSITIONS),
    "stride": lambda size, seed: model.strided(size, 4096, POSITIONS),
    "hot-cold": lambda size, seed: model.hot_cold(size, 400 << 10, 0.9, 40_000, seed, POSITIONS),
    "random-update": lambda size, seed: model.updates(size, seed, POSITIONS),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("size", [4 << 20, 3 << 30])
@pytest.mark.parametrize("seed", [1, 2**64 - 1])
def test_bits_are_those_of_the_model(kind: str, size: int, seed: int) -> None:
    workload = _workload(kind, size=size, **({} if kind == "random-update" else {"writes": 0.3}))
    addresses, kinds = _references(workload, seed)
    assert np.array_equal(addresses - np.uint64(BASE), MODELS[kind](size, seed))
    expected = POSITIONS % 2 if kind == "random-update" else model.kinds(seed, POSITIONS, 0.3)
    assert np.array_equal(kinds, expected)


@pytest.mark.parametrize("size", ["4KiB", "68KiB", "1MiB"])
def test_a_chase_meets_every_node_once_in_a_round(size: str) -> None:
    rounds = []
    for seed in (1, 2):
        addresses, _ = _references(_workload("pointer-chase", size=size), seed)
        nodes = (addresses - np.uint64(BASE)) // np.uint64(64)
        count = {"4KiB": 64, "68KiB": 1088, "1MiB": 16384}[size]
        for start in (0, count):
            assert np.array_equal(np.sort(nodes[start : start + count]), np.arange(count))
        assert np.array_equal(nodes[:count], nodes[count : 2 * count])
        rounds.append(nodes[:count])
    assert not np.array_equal(*rounds)
    # Without any order: neighbours in time are neighbours in space about as often as chance has it.
    steps = np.abs(np.diff(rounds[0].astype(np.int64)))
    assert np.mean(steps) > len(rounds[0]) / 5


@pytest.mark.parametrize("burst", [2, 3, 16, 512])
@pytest.mark.parametrize("first", [0, 1, 1000])
def test_bursts_are_places_and_the_words_after_them(burst: int, first: int) -> None:
    places, _ = _references(_workload("zipf"))
    offsets = _workload("zipf", burst=burst).offsets()
    addresses, _ = offsets.fill(stores=0, seed=1, base=BASE, first=first, count=50_000)
    positions = np.arange(first, first + 50_000)
    begins = places[positions // burst]
    words = (begins // 8 + positions % burst) % 512
    assert np.array_equal(addresses, begins // 4096 * 4096 + words * 8)


def test_hot_part_moves_with_the_phase() -> None:
    addresses, _ = _references(_workload("hot-cold", share=1.0))
    phases = (addresses - np.uint64(BASE))[:280_000].reshape(7, 40_000) // np.uint64(4096)
    spans = {(int(phase.min()), int(phase.max())) for phase in phases}
    assert len(spans) > 4 and all(last - first == 99 for first, last in spans)
