"""How a host reclaims memory from its VMs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vmem import checks
from vmem.durations import Duration, parse_duration
from vmem.errors import ConfigError

State = tuple[float, float]


@dataclass(frozen=True)
class HostReclaim:
    """States of free machine memory, and what is done in them (docs/design/host-memory.md).

    Each state is entered when less than the first percentage is free, and left when at least the second is.
    The defaults are ESX's classic 6, 4, 2 and 1 % (Waldspurger, OSDI 2002).
    """

    soft: State = (4.0, 6.0)
    """Balloons; the swap where a VM has no balloon."""
    hard: State = (2.0, 4.0)
    """The swap."""
    low: State = (1.0, 2.0)
    """The swap, at once."""
    victims: Literal["random", "clock"] = "random"
    """Which page of a VM is swapped: any, as ESX; or the first not accessed since the hand came by."""
    balloons: bool = True
    """Whether it asks balloons by itself. False: their targets are somebody else's business (a policy's)."""
    period: Duration = "1s"
    """How often the host looks at what is free."""

    def thousandths(self) -> tuple[list[int], list[int]]:
        """What states are entered below and left at. ConfigError names one that is no pair of percentages."""
        pairs = []
        for name in ("soft", "hard", "low"):
            pair = getattr(self, name)
            numbers = (
                isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(p, int | float) for p in pair)
            )
            if not numbers or not all(0 < percent <= 100 for percent in pair):
                raise ConfigError(f"state {name}: {pair!r}; accepted are two percentages, such as (4.0, 6.0)")
            pairs.append([round(percent * 10) for percent in pair])
        return [enter for enter, _ in pairs], [leave for _, leave in pairs]

    def accepted_period(self) -> int:
        """Nanoseconds. ConfigError for what is no duration."""
        return parse_duration(self.period, "period of host reclaim")

    def accepted_victims(self) -> str:
        """ConfigError for an unknown policy."""
        return checks.one_of(self.victims, "victims", ("random", "clock"))
