"""Proportional shares with an idle-memory tax: who gets how much (Waldspurger, OSDI 2002, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """One VM's claim to memory. Sizes are bytes."""

    shares: float
    least: float
    most: float
    active: float
    """What it uses actively, by the sampler's estimate."""


def price(claim: Claim, size: float, tax: float) -> float:
    """What a VM of this size pays: its active memory at 1, its idle memory at k = 1 / (1 - tax).

    Its shares divided by this are the paper's ρ = S / (P (f + k (1 - f))).
    """
    active = min(size, claim.active)
    return active + (size - active) / (1 - tax)


def allocate(claims: Sequence[Claim], available: float, tax: float) -> list[float]:
    """Sizes at which nobody would give memory to another: equal shares for the price, within limits.

    It is where min-funding revocation ends, which takes from who has the fewest shares for the price, over
    and over. Sums to `available`, unless all minima are more, or all maxima less. 0 <= tax < 1.
    """
    if sum(claim.most for claim in claims) <= available:
        return [claim.most for claim in claims]
    low, high = 0.0, max(price(claim, claim.most, tax) / claim.shares for claim in claims)
    for _ in range(200):  # until neighbouring numbers: sizes are then exact to well below a byte
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if sum(_size_at(claim, middle, tax) for claim in claims) > available:
            high = middle
        else:
            low = middle
    return [_size_at(claim, low, tax) for claim in claims]


def _size_at(claim: Claim, level: float, tax: float) -> float:
    """The size for which it pays `level` for each of its shares."""
    paid = level * claim.shares
    size = paid if paid <= claim.active else claim.active + (paid - claim.active) * (1 - tax)
    return min(max(size, claim.least), claim.most)
