"""Synthetic references, slowly and obviously: the formulas of csrc/sim/workloads/ in numpy.

Two formulas of one stream, written apart, must give the same bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint64]

PAGE = 4096
WORD = 8
NODE = 64
MASK = 2**64 - 1
GAMMA = 0x9E37_79B9_7F4A_7C15
MAX_RANKS = 1 << 18


def mix(value: int) -> int:
    """splitmix64's first number for a state."""
    z = (value + GAMMA) & MASK
    z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB & MASK
    return z ^ (z >> 31)


def hashed(seed: int, numbers: Numbers) -> Numbers:
    """splitmix64: uint64[n] of random numbers for uint64[n] of positions in the stream of a seed."""
    z = numbers * np.uint64(GAMMA) + np.uint64(mix(seed & MASK))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))


def below(random: Numbers, bound: int) -> Numbers:
    """Random numbers from 0 to bound - 1."""
    if bound <= 1 << 32:
        return (random >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)
    return random % np.uint64(bound)


def inverse_powers(count: int, exponent: float) -> npt.NDArray[np.float64]:
    """k**-exponent for k from 1 to count, to about 1e-13 of each.

    Additions, multiplications and divisions only: those round alike everywhere. The logarithms of
    mathematical libraries do not, and streams must be equal bit for bit.
    """
    fraction, power = np.frexp(np.arange(1, count + 1, dtype=np.float64))
    low = fraction < 0.7071067811865476
    fraction, power = np.where(low, fraction * 2, fraction), power - low
    t = (fraction - 1) / (fraction + 1)
    t2, series = t * t, np.zeros(count)
    for odd in range(23, 0, -2):
        series = series * t2 + 1 / odd
    log2 = power + 2 * t * series * 1.4426950408889634
    whole = np.rint(-exponent * log2)
    x = (-exponent * log2 - whole) * 0.6931471805599453
    value = np.ones(count)
    for n in range(16, 0, -1):
        value = value * x / n + 1
    powers: npt.NDArray[np.float64] = np.ldexp(value, whole.astype(np.int32))
    return powers


def kinds(seed: int, positions: Numbers, writes: float) -> npt.NDArray[np.uint8]:
    """1 for so many of the references, at random."""
    return (hashed(seed ^ MASK, positions) >> np.uint64(1) < np.uint64(int(writes * 2.0**63))).astype(
        np.uint8
    )


def uniform(size: int, seed: int, positions: Numbers) -> Numbers:
    return below(hashed(seed, positions), size // WORD) * np.uint64(WORD)


def strided(size: int, step: int, positions: Numbers) -> Numbers:
    return positions * np.uint64(step) % np.uint64(size)


def updates(size: int, seed: int, positions: Numbers) -> Numbers:
    return uniform(size, seed, positions // np.uint64(2))


def zipf(size: int, skew: float, seed: int, positions: Numbers) -> Numbers:
    pages = size // PAGE
    group = -(-pages // MAX_RANKS)
    ranks = -(-pages // group)
    share = np.cumsum(inverse_powers(ranks, skew))
    bounds = (share / share[-1] * 2.0**53).astype(np.uint64)
    bounds[-1] = 1 << 53
    places = np.argsort(hashed(1, np.arange(ranks, dtype=np.uint64)), kind="stable").astype(np.uint64)
    random = hashed(seed, positions)
    again = hashed(2, random)
    found = places[np.searchsorted(bounds, random >> np.uint64(11), side="right")]
    page = np.minimum(found * np.uint64(group) + below(again, group), np.uint64(pages - 1))
    return page * np.uint64(PAGE) + (again & np.uint64(PAGE // WORD - 1)) * np.uint64(WORD)


def hot_cold(size: int, hot: int, share: float, phase: int, seed: int, positions: Numbers) -> Numbers:
    phases = positions // np.uint64(phase)
    starts = below(hashed(seed + 2, phases), (size - hot) // PAGE + 1) * np.uint64(PAGE)
    random = hashed(seed, positions)
    is_hot = hashed(seed + 1, positions) >> np.uint64(1) < np.uint64(int(share * 2.0**63))
    return np.where(
        is_hot, starts + below(random, hot // WORD) * np.uint64(WORD), uniform(size, seed, positions)
    )
