"""A set-associative array and its replacement policies (mmu.md, "One access": insertion, replacement,
indexing).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from reference.config import Geometry

T = TypeVar("T")
MASK = (1 << 64) - 1


class SplitMix64:
    """The generator of the random policy: Steele, Lea, Flood, OOPSLA 2014."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        return z ^ z >> 31


@dataclass
class Slot(Generic[T]):
    """One way that holds something. Times count touches of the array."""

    key: Hashable
    value: T
    inserted: int
    touched: int


class _Set(Generic[T]):
    def __init__(self, ways: int) -> None:
        self.ways: list[Slot[T] | None] = [None] * ways
        self.tree = [0] * ways  # tree[1] is the root, tree[2n] and tree[2n + 1] the children of tree[n]


class SetAssociative(Generic[T]):
    """Values by (number, key): `number` picks the set, number and key together are the identity."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.sets: list[_Set[T]] = [_Set(geometry.ways) for _ in range(geometry.entries // geometry.ways)]
        self.random = SplitMix64(geometry.seed)
        self.time = 0

    def _set(self, number: int) -> _Set[T]:
        return self.sets[number % len(self.sets)]

    def find(self, number: int, matches: Callable[[T], bool]) -> T | None:
        """The value in the lowest way that matches. Touches nothing."""
        for slot in self._set(number).ways:
            if slot is not None and matches(slot.value):
                return slot.value
        return None

    def touch(self, number: int, value: T) -> None:
        """Replacement state after a use."""
        chosen = self._set(number)
        for way, slot in enumerate(chosen.ways):
            if slot is not None and slot.value is value:
                self._touch_way(chosen, way)

    def insert(self, number: int, key: Hashable, value: T) -> None:
        """Same key in place; else the invalid way with the lowest index; else the victim. Touches."""
        chosen = self._set(number)
        way = self._same_key(chosen, key)
        if way is not None:
            chosen.ways[way].value = value  # type: ignore[union-attr]
        else:
            way = self._free_way(chosen)
            if way is None:
                way = self._victim(chosen)
            self.time += 1
            chosen.ways[way] = Slot(key, value, self.time, self.time)
        self._touch_way(chosen, way)

    def drop(self, matches: Callable[[T], bool]) -> None:
        for chosen in self.sets:
            for way, slot in enumerate(chosen.ways):
                if slot is not None and matches(slot.value):
                    chosen.ways[way] = None

    def values(self) -> list[T]:
        return [slot.value for chosen in self.sets for slot in chosen.ways if slot is not None]

    @staticmethod
    def _same_key(chosen: _Set[T], key: Hashable) -> int | None:
        for way, slot in enumerate(chosen.ways):
            if slot is not None and slot.key == key:
                return way
        return None

    @staticmethod
    def _free_way(chosen: _Set[T]) -> int | None:
        return chosen.ways.index(None) if None in chosen.ways else None

    def _touch_way(self, chosen: _Set[T], way: int) -> None:
        slot = chosen.ways[way]
        assert slot is not None
        self.time += 1
        slot.touched = self.time
        if self.geometry.policy == "plru":
            _point_away(chosen.tree, self.geometry.ways, way)

    def _victim(self, chosen: _Set[T]) -> int:
        ways = [slot for slot in chosen.ways if slot is not None]
        match self.geometry.policy:
            case "lru":
                return min(range(len(ways)), key=lambda way: ways[way].touched)
            case "fifo":
                return min(range(len(ways)), key=lambda way: ways[way].inserted)
            case "plru":
                return _follow(chosen.tree, self.geometry.ways)
            case "random":
                return self.random.next() % self.geometry.ways
        raise ValueError(self.geometry.policy)


def _point_away(tree: list[int], ways: int, way: int) -> None:
    """Every bit on the path to the way points to the half that the way is not in; bit 0 means the left half
    is next.
    """
    node, low, high = 1, 0, ways
    while high - low > 1:
        middle = (low + high) // 2
        in_right = way >= middle
        tree[node] = 0 if in_right else 1
        node = 2 * node + in_right
        low, high = (middle, high) if in_right else (low, middle)


def _follow(tree: list[int], ways: int) -> int:
    node, low, high = 1, 0, ways
    while high - low > 1:
        middle = (low + high) // 2
        right = tree[node]
        node = 2 * node + right
        low, high = (middle, high) if right else (low, middle)
    return low
