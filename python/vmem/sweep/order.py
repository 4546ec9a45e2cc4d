"""In which order runs are begun: the longest first, so that no processor waits for the others at the end.

Graham's rule of the longest processing time (1969). How long a run takes is learned from those that are done.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from math import exp, log
from typing import NamedTuple

from vmem.sweep.grid import Setting, Settings

_LEAST = 1e-3
"""Seconds; what took less is no better known."""
_WINDOW = 1000
"""Waiting runs that are looked at for the next one: grids may be large."""


class _Mean(NamedTuple):
    """Of logarithms of seconds."""

    total: float = 0.0
    number: int = 0

    def more(self, value: float) -> _Mean:
        return _Mean(self.total + value, self.number + 1)

    @property
    def value(self) -> float:
        return self.total / self.number


class Order:
    """Runs that are to be begun, as indices into a grid."""

    def __init__(self, grid: list[Settings]) -> None:
        self._grid = grid
        self._waiting: dict[int, None] = {}
        self._begun: set[tuple[str, Setting]] = set()
        self._took: dict[tuple[str, Setting], _Mean] = {}
        self._all = _Mean()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, runs: Iterable[int]) -> None:
        """Puts runs in the queue."""
        self._waiting.update(dict.fromkeys(runs))

    def learn(self, settings: Settings, seconds: float) -> None:
        """How long a run took."""
        took = log(max(seconds, _LEAST))
        self._all = self._all.more(took)
        for key in settings.items():
            self._took[key] = self._took.get(key, _Mean()).more(took)

    def first(self) -> int:
        """The run that waits longest."""
        chosen = next(iter(self._waiting))
        del self._waiting[chosen]
        return chosen

    def longest(self) -> int:
        """The run to begin next: with values that none has had yet, or else the longest."""
        candidates = islice(self._waiting, _WINDOW)
        chosen = max(candidates, key=lambda i: (self._unseen(i), self.expected(self._grid[i]), -i))
        del self._waiting[chosen]
        self._begun.update(self._grid[chosen].items())
        return chosen

    def _unseen(self, index: int) -> int:
        """How many of its values no run has had. Seeds do not count: they all take alike."""
        return sum(key not in self._begun for key in self._grid[index].items() if key[0] != "seed")

    def expected(self, settings: Settings) -> float:
        """Seconds: the mean of all runs, times what each of its values makes of it (geometric means)."""
        if not self._all.number:
            return 0.0
        mean = self._all.value
        effects = (self._took[key].value - mean for key in settings.items() if key in self._took)
        return exp(mean + sum(effects))
