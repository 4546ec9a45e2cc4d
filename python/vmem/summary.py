"""What a stretch of accesses cost."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Summary:
    """The difference that a batch or a replay made.

    `references` were made or given up; `counters` has every counter of docs/reference/counters.md for the
    vCPU that ran them; `segfaults` references were answered with SIGSEGV, the first at `first_segfault`;
    `killed`: the process did not survive.
    """

    references: int = 0
    segfaults: int = 0
    first_segfault: int | None = None
    killed: bool = False
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """Cycles by the host's cost model."""
        return self.counters.get("cycles", 0)

    @property
    def faults(self) -> dict[str, int]:
        """The `faults.*` counters by their short names."""
        return {
            name.removeprefix("faults."): value
            for name, value in self.counters.items()
            if name.startswith("faults.")
        }

    @property
    def exits(self) -> dict[str, int]:
        """The `exits.*` counters by their short names."""
        return {
            name.removeprefix("exits."): value
            for name, value in self.counters.items()
            if name.startswith("exits.")
        }

    def add(self, other: Summary) -> None:
        """Accumulates a later stretch."""
        self.references += other.references
        self.segfaults += other.segfaults
        self.first_segfault = other.first_segfault if self.first_segfault is None else self.first_segfault
        self.killed = self.killed or other.killed
        for name, value in other.counters.items():
            self.counters[name] = self.counters.get(name, 0) + value


def from_core(values: tuple[int, int, int, bool, dict[str, int]]) -> Summary:
    references, segfaults, first, killed, counters = values
    return Summary(references, segfaults, first if segfaults else None, killed, counters)
