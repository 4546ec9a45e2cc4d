"""Random machine states: page tables, registers, accesses to what is mapped. State n is always the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from .layout import ABSENT, DATA, MAXPHYADDR, PAGE, SLOTS, TABLE_FRAMES, TABLES
from .machine_state import (
    ADDRESS,
    CR0_WP,
    CR4_LA57,
    CR4_PAE,
    CR4_PCIDE,
    CR4_PGE,
    CR4_PKE,
    CR4_SMAP,
    CR4_SMEP,
    EFER_NXE,
    KINDS,
    LONG_MODE_CR0,
    LONG_MODE_EFER,
    NX,
    PAT_LARGE,
    PAT_SMALL,
    PS,
    PWT,
    A,
    Access,
    G,
    Kind,
    P,
    Registers,
    U,
    W,
)
from .unicorn_mmu import RESERVED_ROOT_INDEX

FRAMES = [base + PAGE * n for base in TABLES for n in range(TABLE_FRAMES)]
INDICES = (0, 1, 2, 3, 254, 255, 257, 258, 509, 510)
# Every combination of access-disable and write-disable; few values, since each costs a saved processor.
PKRUS = (0, 0, 0x5555_5554, 0xAAAA_AAA8, 0xC9C9_36C6, 0x1B1B_1B1B, 0xFFFF_FFFF, 0x8000_0001)
LEAF_SIZES = (1, 1, 1, 1, 2, 2, 3)


@dataclass
class MachineState:
    number: int
    registers: Registers
    entries: dict[int, int]  # physical address of a table entry → its value
    accesses: list[Access]
    cached: bool  # whether the accesses may use what earlier ones left in caches


@dataclass
class Tables:
    """Tables under construction."""

    rng: Random
    levels: int
    nxe: bool
    entries: dict[int, int] = field(default_factory=dict)
    free: list[int] = field(default_factory=lambda: list(FRAMES))
    placed: dict[tuple[int, int], int] = field(default_factory=dict)  # (level, address bits above it) → table
    made: dict[int, list[int]] = field(default_factory=dict)  # by level of the entries that name them

    def __post_init__(self) -> None:
        self.rng.shuffle(self.free)
        self.root = self.free.pop()

    def map_random_page(self) -> int | None:
        """Maps a random page on the way to a random slot of a data frame; returns the linear address of that
        slot. None: no frame is left for its tables.
        """
        rng = self.rng
        leaf_level = rng.choice(LEAF_SIZES)
        target = rng.choice(DATA) + 8 * rng.randrange(SLOTS)
        offset_bits = 12 + 9 * (leaf_level - 1)
        va = target & (1 << offset_bits) - 1
        for level in range(leaf_level, self.levels + 1):
            va |= self._index(level) << 12 + 9 * (level - 1)
        table = self.root
        for level in range(self.levels, leaf_level, -1):
            key = (level, va >> 12 + 9 * (level - 1))
            if key not in self.placed:
                below = self._table_below(level)
                if below is None:
                    return None
                self.placed[key] = below
                entry = self._disturbed(self._table_entry(below), level, leaf=False)
                self._put(table, level, va, entry)
            table = self.placed[key]
        entry = self._leaf_entry(target >> offset_bits << offset_bits, leaf_level)
        self._put(table, leaf_level, va, self._disturbed(entry, leaf_level, leaf=True))
        return sign_extended(va, self.levels)

    def _index(self, level: int) -> int:
        if level < self.levels and self.rng.randrange(8) == 0:
            return self.rng.choice((256, 511))
        return self.rng.choice(INDICES) if self.rng.randrange(4) else self.rng.randrange(256)

    def _table_below(self, level: int) -> int | None:
        """Mostly a new one; sometimes one that another entry of this level names already."""
        made = self.made.setdefault(level, [])
        if made and self.rng.randrange(12) == 0:
            return self.rng.choice(made)
        if not self.free:
            return None
        made.append(self.free.pop())
        return made[-1]

    def _put(self, table: int, level: int, va: int, entry: int) -> None:
        self.entries[table + 8 * (va >> 12 + 9 * (level - 1) & 511)] = entry

    def _common_bits(self) -> int:
        """Rights that mostly allow, and bits that mean nothing here."""
        rng = self.rng
        bits = P | (W if rng.randrange(8) else 0) | (U if rng.randrange(6) else 0)
        bits |= rng.getrandbits(2) * PWT | rng.getrandbits(2) * A  # PCD and D beside them
        bits |= rng.getrandbits(3) << 9 | rng.getrandbits(11) << 52  # ignored bits and protection key
        # Without EFER.NXE the bit is reserved, and then half of all walks would end at one.
        return bits | (NX if rng.randrange(12 if self.nxe else 48) == 0 else 0)

    def _table_entry(self, below: int) -> int:
        return below | self._common_bits() | self.rng.getrandbits(1) * G

    def _leaf_entry(self, target: int, level: int) -> int:
        rng = self.rng
        pat = rng.getrandbits(1)
        of_level = pat * PAT_SMALL if level == 1 else PS | pat * PAT_LARGE
        return target | self._common_bits() | of_level | rng.getrandbits(1) * G

    def _disturbed(self, entry: int, level: int, leaf: bool) -> int:
        """Rarely something is wrong with an entry: one thing at a time."""
        rng = self.rng
        what = rng.randrange(64)
        if what == 0:
            return entry & ~P
        if what == 1:
            return entry | 1 << rng.randrange(MAXPHYADDR, 52)
        if what == 2 and leaf and level > 1:
            return entry | 1 << rng.randrange(13, 12 + 9 * (level - 1))
        if what == 3 and not leaf and level >= 4:
            return entry | PS
        if what == 4:
            page = PAGE << 9 * (level - 1) if leaf else PAGE
            return entry & ~ADDRESS | ABSENT & -page | entry & (page - 1) & ADDRESS
        if what == 5 and rng.randrange(4) == 0:
            return rng.getrandbits(64) & ~ADDRESS | entry & ADDRESS
        return entry


def sign_extended(va: int, levels: int) -> int:
    top = 12 + 9 * levels
    return va | ((1 << 64) - (1 << top) if va >> top - 1 & 1 else 0)


def random_registers(rng: Random) -> Registers:
    """All but the root."""
    switches = (CR4_PGE, CR4_LA57, CR4_PCIDE, CR4_SMEP, CR4_SMAP, CR4_PKE)
    cr4 = CR4_PAE | sum(bit for bit in switches if rng.getrandbits(1))
    return Registers(
        cr0=LONG_MODE_CR0 | (CR0_WP if rng.randrange(3) else 0),
        cr3=rng.getrandbits(12) if cr4 & CR4_PCIDE else rng.getrandbits(2) * PWT,
        cr4=cr4,
        efer=LONG_MODE_EFER | (EFER_NXE if rng.randrange(5) else 0),
    )


def random_access(rng: Random, va: int, levels: int) -> Access:
    """Mostly to `va`; sometimes to its neighbourhood, or not canonical."""
    what = rng.randrange(48)
    if what == 0:
        va ^= 1 << rng.randrange(12 + 9 * levels - 1, 64)
    elif what < 4:
        va ^= 1 << rng.randrange(12, 12 + 9 * levels - 1)
    if va >> 12 + 9 * (levels - 1) & 511 == RESERVED_ROOT_INDEX[levels]:
        va ^= 1 << 12 + 9 * (levels - 1)
    kind: Kind = rng.choice(KINDS)
    cpl = rng.choice((3, 3, 3, 0, 0, 1, 2))
    return Access(va, kind, cpl, bool(rng.getrandbits(1)), rng.choice(PKRUS))


def machine_state(number: int, root_entry: dict[int, int]) -> MachineState:
    """`root_entry`: by number of levels, what every root must hold at RESERVED_ROOT_INDEX."""
    rng = Random(number)
    registers = random_registers(rng)
    levels = registers.levels
    tables = Tables(rng, levels, bool(registers.efer & EFER_NXE))
    registers = replace(registers, cr3=tables.root | registers.cr3)
    mapped = [va for va in (tables.map_random_page() for _ in range(rng.randrange(1, 4))) if va is not None]
    tables.entries[tables.root + 8 * RESERVED_ROOT_INDEX[levels]] = root_entry[levels]
    accesses = [random_access(rng, rng.choice(mapped), levels) for _ in range(rng.randrange(1, 4))]
    return MachineState(number, registers, tables.entries, accesses, bool(rng.getrandbits(1)))
