"""Simulated time against the wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from vmem.errors import ConfigError

_SLICE = 0.01
"""Wall seconds that a slice of simulated time should take: as long, clients wait for an answer."""
_PATIENCE = 0.5
"""Wall seconds by which simulated time may be late before the delay is given up."""
_BETWEEN_WARNINGS = 60.0
_SLOWEST, _FASTEST = 1e-6, 1000.0


def check_rate(rate: float) -> float:
    """ConfigError if time cannot pass so fast."""
    if not _SLOWEST <= rate <= _FASTEST:  # false for NaN, too
        raise ConfigError(
            f"--rate: {rate}; accepted are simulated seconds a second from {_SLOWEST:f} to {_FASTEST:.0f}"
        )
    return rate


class Pace:
    """How far simulated time should be, and in what slices it gets there.

    A simulation that cannot keep up is not chased: a delay of more than half a second is given up, once and
    for all, so that after a slow stretch time passes at the rate again and not faster.
    """

    def __init__(self, rate: float, simulated: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = check_rate(rate)
        self._clock = clock
        self._simulated, self._wall = simulated, clock()
        """A moment at which both were right."""
        self._slice = 1e6 * rate
        self._warn_at = float("-inf")
        self._since = (simulated, self._wall)

    def owed(self, simulated: int) -> int:
        """Simulated nanoseconds that should have passed and have not."""
        elapsed = (self._clock() - self._wall) * self.rate * 1e9
        return max(0, self._simulated + int(elapsed) - simulated)

    def next_slice(self, simulated: int) -> int:
        """So many nanoseconds to simulate at once; 0: it is not time yet."""
        return min(self.owed(simulated), max(1, int(self._slice)))

    def took(self, nanoseconds: int, seconds: float) -> None:
        """A slice is done, in so many seconds of the wall clock: the next one is better measured."""
        if nanoseconds < int(self._slice) and seconds < _SLICE:
            return
        factor = _SLICE / max(seconds, 1e-9)
        self._slice = min(max(self._slice * min(max(factor, 0.25), 2.0), 1e3), 1e9 * self.rate)

    def give_up_delay(self, simulated: int) -> str | None:
        """Forgets a delay that is too long; what to say about it, once a minute."""
        if self.owed(simulated) <= _PATIENCE * self.rate * 1e9:
            return None
        wall = self._clock()
        self._simulated, self._wall = simulated, wall
        if wall < self._warn_at + _BETWEEN_WARNINGS:
            return None
        passed, seconds = simulated - self._since[0], wall - self._since[1]
        self._since, self._warn_at = (simulated, wall), wall
        return (
            f"simulated time falls behind the wall clock: {passed / seconds / 1e9:.2g} s a second of late "
            f"instead of {self.rate:g}"
        )
