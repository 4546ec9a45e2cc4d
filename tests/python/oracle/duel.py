"""Both MMUs through the same machine states, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .deviations import DEVIATIONS, Situation, walk_entries
from .layout import HARNESS, SLOT_OF, Words, fill_data, slot_word, word_at
from .machine_state import Access, Outcome
from .random_state import MachineState, machine_state
from .unicorn_mmu import UnicornMmu
from .vmem_mmu import VmemMmu


@dataclass
class Tally:
    states: int = 0
    accesses: int = 0
    differences: list[str] = field(default_factory=list)
    undone: Counter[str] = field(default_factory=Counter)  # known deviations, by name
    # By kind of access, outcome, error code; by levels of the table, level of the leaf.
    outcomes: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    reached: Counter[tuple[int, int]] = field(default_factory=Counter)


class Duel:
    """Expensive to make, cheap to use again."""

    def __init__(self) -> None:
        self.unicorn = UnicornMmu()
        self._root_entries = {levels: self.unicorn.root_entry(levels) for levels in (4, 5)}
        self._marker = 0

    def run(self, numbers: Iterable[int], device: VmemMmu) -> Tally:
        """The machine states of these numbers. A state ends at its first difference."""
        tally = Tally()
        for number in numbers:
            state = machine_state(number, self._root_entries)
            self._put(state.entries, device)
            tally.states += 1
            for access in state.accesses:
                tally.accesses += 1
                found = self._compare(state, access, device, tally)
                if found:
                    where = f"state {number}, {state.registers}, {access}"
                    tally.differences.append(f"{where}: {', '.join(found)}")
                    fill_data(self.unicorn.windows)
                    fill_data(device.windows)
                    break
            self._put(dict.fromkeys(state.entries, 0), device)
        return tally

    def _put(self, entries: dict[int, int], device: VmemMmu) -> None:
        for at, entry in entries.items():
            for windows in (self.unicorn.windows, device.windows):
                words, index = word_at(windows, at)
                words[index] = entry
        device.flush()

    def _compare(self, state: MachineState, access: Access, device: VmemMmu, tally: Tally) -> list[str]:
        self._marker += 1
        marker = 0x7E57_0000_0000_0000 | self._marker << 1
        walk = list(walk_entries(state.registers, access.va, self.unicorn.windows))
        situation = Situation(state.registers, access, walk)
        theirs = self.unicorn.access(state.registers, access, marker)
        ours = device.access(state.registers, access, marker, state.cached)
        for deviation in DEVIATIONS:
            if deviation.undo(situation, theirs, self.unicorn.windows):
                tally.undone[deviation.name] += 1
        found = [] if ours == theirs else [f"{ours} but the other MMU says {theirs}"]
        found += memory_differences(device.windows, self.unicorn.windows)
        if not found and ours.what == "reached" and access.kind == "store":
            self._take_back(ours, device)
        tally.outcomes[access.kind, ours.what, ours.error_code] += 1
        if not found and ours.what == "reached":
            tally.reached[state.registers.levels, walk[-1][0]] += 1
        return found

    def _take_back(self, outcome: Outcome, device: VmemMmu) -> None:
        """What a store overwrote."""
        assert outcome.address is not None
        for windows in (self.unicorn.windows, device.windows):
            words, index = word_at(windows, outcome.address)
            words[index] = slot_word(SLOT_OF[outcome.address])


def memory_differences(ours: dict[int, Words], theirs: dict[int, Words]) -> list[str]:
    """Words of memory that differ: tables with their accessed and dirty bits, and data."""
    return [
        f"memory {base + 8 * int(index):#x} holds {int(ours[base][index]):#x}, not {int(words[index]):#x}"
        for base, words in theirs.items()
        if base != HARNESS and not np.array_equal(words, ours[base])
        for index in np.flatnonzero(words != ours[base])
    ]
