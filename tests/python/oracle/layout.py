"""Where things lie in the physical memory that both MMUs see, and what its data frames hold.

Memory is a few small windows spread over the 40 address bits that the other emulator has: tables and data use
high address bits too. Every 8 bytes of a data frame are a tiny program, so that a load and a fetch both tell
where they arrived.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

PAGE = 4096
MAXPHYADDR = 40
MEMORY = 1 << MAXPHYADDR

HARNESS = 0x0000_0000  # the other emulator's own tables, code, descriptors and stack
HARNESS_FRAMES = 16
# No table may be taken for the start of a large page, and no page of 1 GiB may hold both data and tables:
# whatever bits go wrong, no access reaches a table.
TABLES = (0x0011_0000, 0x6A_4029_0000, 0xFF_FFFF_8000)
TABLE_FRAMES = 8  # in each of them
DATA = (0x8040_0000, 0x4000_0000, 0x2A_8060_0000, 0xFF_BFFF_C000)
DATA_FRAMES = 4  # in each of them
WINDOWS = {HARNESS: HARNESS_FRAMES} | dict.fromkeys(TABLES, TABLE_FRAMES) | dict.fromkeys(DATA, DATA_FRAMES)
ABSENT = 0x15_5550_0000  # nothing here, nor in the 1 GiB around it

SLOTS = DATA_FRAMES * PAGE // 8  # in each data window
SLOT_ADDRESSES = [base + 8 * slot for base in DATA for slot in range(SLOTS)]
SLOT_OF = {address: slot for slot, address in enumerate(SLOT_ADDRESSES)}


def slot_word(slot: int) -> int:
    """mov eax, slot; int3; nop; nop."""
    return int.from_bytes(b"\xb8" + slot.to_bytes(4, "little") + b"\xcc\x90\x90", "little")


SLOT_OF_WORD = {slot_word(slot): slot for slot in range(len(SLOT_ADDRESSES))}


def fill_data(windows: dict[int, Words]) -> None:
    """Writes the slots of every data window."""
    words = np.array([slot_word(slot) for slot in range(len(SLOT_ADDRESSES))], np.uint64)
    for number, base in enumerate(DATA):
        windows[base][:] = words[number * SLOTS : (number + 1) * SLOTS]


def window_of(address: int) -> int | None:
    """The base of the window that holds a physical address."""
    for base, frames in WINDOWS.items():
        if base <= address < base + frames * PAGE:
            return base
    return None


def word_at(windows: dict[int, Words], address: int) -> tuple[Words, int]:
    """The window that holds `address`, and its index there."""
    base = window_of(address)
    if base is None:
        raise LookupError(f"no memory at {address:#x}")
    return windows[base], (address - base) // 8
