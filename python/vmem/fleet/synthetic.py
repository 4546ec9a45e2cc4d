"""Synthetic fleets with the statistics of real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vmem.errors import ConfigError
from vmem.fleet.samples import Fleet, Series
from vmem.fleet.statistics import statistics

_GIB = 1 << 30
_SIZES = np.array([1, 2, 4, 8, 16])
"""GiB of a VM's memory, as clouds sell it."""
_ODDS = np.array([0.15, 0.3, 0.3, 0.17, 0.08])
_FULLEST = 0.9
"""The most of its memory that a VM uses."""
_ROUNDS = 25
_TOLERANCE = 0.05

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Synthetic:
    """What the fleet is to look like; the defaults are in the middle of what clusters show."""

    vms: int = 40
    duration: int = 24 * 3600 * 10**9
    """Nanoseconds."""
    interval: int = 300 * 10**9
    """Between samples."""
    provisioned_to_peak: float = 5.0
    """Clusters: 4 to 6."""
    peaks_to_peak: float = 2.7
    """Clusters: 2 to 3.5."""
    used_median: float = 0.045
    """Clusters: 0.04 to 0.05."""
    seed: int = 1


def synthesize(wanted: Synthetic) -> Fleet:
    """A fleet whose `statistics` are those wanted, to within a few percent.

    Each VM uses a share of its memory that is lognormal over VMs, follows the time of the day a little, and
    has bursts. How unequal the shares are makes the ratio of provisioned memory to the peak; how large the
    bursts are makes that of the peaks. Equal parameters give equal fleets. ConfigError for what cannot be.
    """
    _check(wanted)
    random = np.random.Generator(np.random.PCG64(wanted.seed))
    count = int(wanted.duration // wanted.interval)
    sizes = random.choice(_SIZES, wanted.vms, p=_ODDS).astype(np.float64)
    rank = random.permutation((np.arange(wanted.vms) + 0.5) / wanted.vms)
    spread = np.log(rank / (1 - rank))  # logistic: near to normal, and its median is exactly 0
    shape = _day(random, wanted.vms, count, wanted.interval)
    bursts = _bursts(random, wanted.vms, count)

    def height_for(width: float) -> float:
        return _solve(
            lambda x: _measure(sizes, _shares(wanted, spread * width, shape, bursts * x))[1],
            wanted.peaks_to_peak,
        )

    def fullness(width: float) -> float:
        shares = _shares(wanted, spread * width, shape, bursts * height_for(width))
        return 1 / _measure(sizes, shares)[0]

    width = _solve(fullness, 1 / wanted.provisioned_to_peak)
    height = height_for(width)
    used = _shares(wanted, spread * width, shape, bursts * height) * sizes[:, None] * _GIB
    times = tuple(i * wanted.interval for i in range(count))
    fleet = Fleet(
        tuple(
            Series(f"vm{i + 1:03}", int(sizes[i]) * _GIB, times, tuple(int(x) for x in used[i]))
            for i in range(wanted.vms)
        )
    )
    _check_found(wanted, fleet)
    return fleet


def _check(wanted: Synthetic) -> None:
    for name, value, good in (
        ("vms", wanted.vms, 2 <= wanted.vms <= 100_000),
        ("provisioned_to_peak", wanted.provisioned_to_peak, 1.2 <= wanted.provisioned_to_peak <= 20),
        ("peaks_to_peak", wanted.peaks_to_peak, 1 < wanted.peaks_to_peak < wanted.provisioned_to_peak),
        ("used_median", wanted.used_median, 0.001 <= wanted.used_median <= 0.8),
        ("interval", wanted.interval, 0 < wanted.interval * 10 <= wanted.duration),
        ("seed", wanted.seed, 0 <= wanted.seed < 2**63),
    ):
        if not good:
            accepted = {
                "vms": "from 2 to 100,000",
                "provisioned_to_peak": "from 1.2 to 20",
                "peaks_to_peak": "more than 1 and less than provisioned_to_peak",
                "used_median": "from 0.001 to 0.8",
                "interval": "at most a tenth of the duration",
                "seed": "from 0 to 2**63 - 1",
            }[name]
            raise ConfigError(f"synthetic fleet: {name} {value!r}; accepted is {accepted}")


def _check_found(wanted: Synthetic, fleet: Fleet) -> None:
    found = statistics(fleet)
    for name in ("provisioned_to_peak", "peaks_to_peak", "used_median"):
        asked, got = getattr(wanted, name), getattr(found, name)
        if abs(got - asked) > _TOLERANCE * asked:
            raise ConfigError(
                f"synthetic fleet: {name} {asked:g} cannot be had with the others (it came to {got:.3g}); "
                "accepted are more VMs, another seed, or numbers nearer to those of clusters"
            )


def _day(random: np.random.Generator, vms: int, count: int, interval: int) -> Array:
    """A quarter more or less by the time of the day, most VMs at about the same hour; and some noise."""
    hour = np.arange(count) * interval / 3.6e12
    phase = random.normal(14, 3, vms)[:, None]
    noise = random.normal(0, 0.05, (vms, count))
    result: Array = np.clip(1 + 0.25 * np.cos((hour - phase) * 2 * np.pi / 24) + noise, 0.2, None)
    return result


def _bursts(random: np.random.Generator, vms: int, count: int) -> Array:
    """Of height about 1, one or a few for each VM, each as long as a thirtieth of the time or so."""
    found = np.zeros((vms, count))
    for vm in range(vms):
        for _ in range(1 + random.poisson(1.0)):
            length = max(1, int(random.exponential(count / 30)))
            start = int(random.integers(0, count))
            found[vm, start : start + length] = random.uniform(0.5, 1.5)
    return found


def _shares(wanted: Synthetic, spread: Array, shape: Array, bursts: Array) -> Array:
    """Of its memory that each VM uses: [vms, times]. Its median is as wanted."""
    base = wanted.used_median * np.exp(spread)[:, None] * shape
    shares = base + bursts * wanted.used_median
    result: Array = np.clip(shares * wanted.used_median / np.median(shares), 0.002, _FULLEST)
    return result


def _measure(sizes: Array, shares: Array) -> tuple[float, float]:
    """provisioned_to_peak and peaks_to_peak."""
    used = shares * sizes[:, None]
    peak = float(used.sum(axis=0).max())
    return float(sizes.sum()) / peak, float(used.max(axis=1).sum()) / peak


def _solve(value_at: Callable[[float], float], wanted: float) -> float:
    """Where an increasing function of a positive number has this value, or comes nearest."""
    low, high = 0.0, 1.0
    while value_at(high) < wanted and high < 1e4:
        low, high = high, 2 * high
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if value_at(middle) < wanted else (low, middle)
    return (low + high) / 2
