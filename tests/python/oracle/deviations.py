"""Where the emulator is known to differ from the manual. Each deviation has a name, and is undone in what the
emulator left before that is compared: so it excuses exactly one difference, in exactly the situation it is
described for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .layout import MAXPHYADDR, Words, window_of, word_at
from .machine_state import ADDRESS, EFER_NXE, NX, PS, A, Access, Outcome, P, Registers

HIGH_RESERVED = ADDRESS & -(1 << MAXPHYADDR)


@dataclass(frozen=True)
class Situation:
    """Before an access: its input, and the entries that its walk reads."""

    registers: Registers
    access: Access
    walk: list[tuple[int, int, int]]  # level, physical address, entry


@dataclass(frozen=True)
class Deviation:
    """`undo(situation, outcome, windows)` corrects the emulator's memory; was there anything to undo?"""

    name: str
    undo: Callable[[Situation, Outcome, dict[int, Words]], bool]


def walk_entries(registers: Registers, va: int, windows: dict[int, Words]) -> Iterator[tuple[int, int, int]]:
    """The entries on the way, as far as there are any; judges nothing but where the way ends."""
    table = registers.cr3 & ADDRESS
    for level in range(registers.levels, 0, -1):
        at = table + 8 * (va >> 12 + 9 * (level - 1) & 511)
        if window_of(at) is None:
            return
        words, index = word_at(windows, at)
        entry = int(words[index])
        yield level, at, entry
        if not entry & P or (level <= 3 and entry & PS):
            return
        table = entry & ADDRESS


def undo_accessed_before_checks_1g(situation: Situation, outcome: Outcome, windows: dict[int, Words]) -> bool:
    """The emulator sets A in a present 1 GiB leaf before it looks at its reserved bits 29:13 and its rights.

    SDM vol. 3, 4.8: the processor sets the accessed flag of the entries that it uses as part of the
    translation, and one whose access faults translates nothing. Of leaves of 4 KiB and 2 MiB the emulator
    itself checks first and sets afterwards; of 1 GiB leaves it sets the flag where it does so for entries
    that name a table.
    """
    if outcome.what != "page_fault" or not situation.walk:
        return False
    level, at, entry = situation.walk[-1]
    reserved = HIGH_RESERVED | (0 if situation.registers.efer & EFER_NXE else NX)
    if level != 3 or not entry & P or not entry & PS or entry & A or entry & reserved:
        return False
    words, index = word_at(windows, at)
    if int(words[index]) != entry | A:
        return False
    words[index] = entry
    return True


DEVIATIONS = (Deviation("accessed-before-checks-1g", undo_accessed_before_checks_1g),)
