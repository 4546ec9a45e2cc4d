"""How much of its memory a VM uses: an estimate that rises at once and falls slowly.

Waldspurger, OSDI 2002, section 5.3.
"""

from __future__ import annotations


class ActivityEstimate:
    """The largest of a slow average, a fast one, and the fast one with what the running sample shows."""

    def __init__(self, slow: float, fast: float) -> None:
        self._slow_gain, self._fast_gain = slow, fast
        self._slow = self._fast = 0.0
        self._began = False

    def add(self, share: float) -> None:
        """A sample is complete: this share of it was touched."""
        if not self._began:
            self._slow = self._fast = share
            self._began = True
            return
        self._slow += self._slow_gain * (share - self._slow)
        self._fast += self._fast_gain * (share - self._fast)

    def value(self, running: float | None) -> float:
        """The share of its memory that is active; `running` is what the running sample shows, if there is one

        Before the first sample is complete, all of it: what is not known is not taxed.
        """
        if not self._began:
            return 1.0
        current = 0.0 if running is None else self._fast + self._fast_gain * (running - self._fast)
        return max(self._slow, self._fast, current)
