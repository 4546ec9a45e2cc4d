"""Random page tables for the differential test: bytes in memory, and the addresses worth accessing."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from reference.address import level_bits
from reference.entries import EPT_A, EPT_D, GLOBAL, A, D

FRAMES = 2048  # 8 MiB of machine memory: four aligned pages of 2 MiB
INDICES = (0, 1, 2, 255, 256, 257, 511, 7)
GIB, MIB2 = 1 << 30, 1 << 21
IGNORED = 1 << 3 | 1 << 9 | 1 << 10 | 1 << 58


def flags(rng: Random, always: int, mostly: int, sometimes: int) -> int:
    """`always`, with the bits of `mostly` (9 in 10) and `sometimes` (3 in 10)."""
    word = always
    for mask, chance in ((mostly, 9), (sometimes, 3)):
        bit = 1
        while bit <= mask:
            if mask & bit and rng.randrange(10) < chance:
                word |= bit
            bit <<= 1
    return word


@dataclass
class World:
    """Machine memory under construction. `trouble`: how many entries in a thousand are broken on purpose."""

    rng: Random
    trouble: int
    maxphyaddr: int
    words: dict[int, int] = field(default_factory=dict)
    entries: list[int] = field(default_factory=list)  # addresses of table entries, for edits
    used: int = 0

    def new_frame(self) -> int:
        """A frame, spread over the 2 MiB pages of memory."""
        self.used += 1
        return self.used % 4 * 512 + 1 + self.used // 4

    def put(self, at: int, word: int) -> None:
        self.words[at] = word
        self.entries.append(at)

    def breaks(self) -> bool:
        return self.trouble > 0 and self.rng.randrange(1000) < self.trouble

    def broken(self, word: int) -> int:
        """An entry with one bit turned, or none of it, or a reserved address bit."""
        how = self.rng.randrange(4)
        if how == 0:
            return word & ~7
        if how == 1:
            return word | 1 << self.rng.randrange(min(self.maxphyaddr, 51), 52)
        if how == 2:
            return word ^ 1 << self.rng.randrange(12)
        return word ^ 1 << self.rng.randrange(64)


class SecondStage:
    """Windows of guest-physical memory onto machine memory, which every root maps with rights of its own."""

    def __init__(self, world: World, levels: int, is_ept: bool, one_gib_pages: bool) -> None:
        self.world, self.levels, self.is_ept = world, levels, is_ept
        rng = world.rng
        reach = 57 if levels == 5 else 48
        tops = [0, 1, 3, 511, 512, 513 + 512]
        if min(reach, world.maxphyaddr) > 48:
            tops.append(1 << 18)
        tops = [top for top in tops if top * GIB < 1 << world.maxphyaddr]
        rng.shuffle(tops)
        self.windows: list[tuple[int, int, int]] = []  # gPA, page size, hPA
        if one_gib_pages:
            self.windows += [(top * GIB, 2, 0) for top in tops[: rng.randrange(2)]]
        self.split = tops[1:3]
        self.windows += [
            (rng.choice(self.split) * GIB + (8 + n) * MIB2, 1, rng.randrange(4) * MIB2)
            for n in range(rng.randrange(4))
        ]
        self.small = 0
        self.data = {gpa for gpa, _, _ in self.windows}  # windows where rights may well be missing

    def gpa_of(self, frame: int) -> int:
        """A guest-physical name for a machine frame."""
        rng = self.world.rng
        large = [
            gpa + frame * 4096 - hpa
            for gpa, size, hpa in self.windows
            if size == 2 or (size == 1 and hpa == frame // 512 * MIB2)
        ]
        if large and rng.randrange(3):
            return rng.choice(large)
        self.small += 1
        gpa = rng.choice(self.split) * GIB + rng.randrange(2) * 3 * MIB2 + self.small * 4096
        self.windows.append((gpa, 0, frame * 4096))
        return gpa

    def add_data(self, count: int) -> None:
        for _ in range(count):
            self.data.add(self.gpa_of(self.world.rng.randrange(FRAMES)))

    def build_root(self) -> int:
        """Tables for all windows, with bits of their own. Returns the root's machine address."""
        tables: dict[tuple[int, int], int] = {}
        root = self.world.new_frame() * 4096
        for gpa, size, hpa in self.windows:
            table = root
            for level in range(self.levels, size + 1, -1):
                key = (level, gpa >> level_bits(level))
                at = table + 8 * (key[1] & 511)
                if key not in tables:
                    tables[key] = self.world.new_frame() * 4096
                    self._write(
                        at, tables[key] | self._bits(level, leaf=False, forbidding=self._forbids(None))
                    )
                table = tables[key]
            at = table + 8 * (gpa >> level_bits(size + 1) & 511)
            self._write(at, hpa | self._bits(size + 1, leaf=True, forbidding=self._forbids(gpa)))
        return root

    def _write(self, at: int, word: int) -> None:
        self.world.put(at, self.world.broken(word) if self.world.breaks() else word)

    def _forbids(self, gpa: int | None) -> bool:
        return self.world.rng.randrange(5 if gpa in self.data else 60) == 0

    def _bits(self, level: int, leaf: bool, forbidding: bool) -> int:
        rng = self.world.rng
        large = 1 << 7 if leaf and level > 1 else 0
        if self.is_ept:
            rights = rng.choice((1, 5, 3, 4)) if forbidding else 7
            kind = rng.choice((2, 3, 7) if self.world.breaks() else (6, 0, 1, 4, 5)) << 3 if leaf else 0
            ignored = 1 << 11 | 1 << 60 | (1 << 6 if leaf else 0)
            return flags(rng, rights | kind | large, 0, EPT_A | EPT_D | ignored)
        rights = rng.choice((5, 5 | 1 << 63, 3, 7 | 1 << 63)) if forbidding else 7
        return flags(rng, rights | large, 0, A | D | IGNORED)


@dataclass
class GuestTable:
    level: int
    frame: int
    gpa: int
    below: dict[int, GuestTable | None] = field(default_factory=dict)


class GuestTables:
    """Trees of tables that share branches and may loop."""

    def __init__(self, world: World, levels: int, stage: SecondStage | None, one_gib_pages: bool) -> None:
        self.world, self.levels, self.stage = world, levels, stage
        self.one_gib_pages = one_gib_pages
        self.by_level: dict[int, list[GuestTable]] = {level: [] for level in range(1, 6)}

    def new_root(self) -> GuestTable:
        return self._table(self.levels)

    def _table(self, level: int) -> GuestTable:
        rng, world = self.world.rng, self.world
        frame = world.new_frame()
        table = GuestTable(level, frame, self.stage.gpa_of(frame) if self.stage else frame * 4096)
        self.by_level[level].append(table)
        chosen = rng.sample(INDICES, 4 if level == 1 else rng.randrange(1, 4))
        if level == 1:
            chosen = sorted({*range(4), *chosen})
        for index in chosen:
            word = self._entry(table, index)
            world.put(frame * 4096 + 8 * index, world.broken(word) if world.breaks() else word)
        return table

    def _entry(self, table: GuestTable, index: int) -> int:
        rng, level = self.world.rng, table.level
        large = level == 2 or (level == 3 and (self.one_gib_pages or self.world.breaks()))
        if level == 1 or (large and rng.randrange(4) == 0):
            table.below[index] = None
            return self._target(level) | self._leaf_bits(level)
        below = self._shared(level)
        if below is None:
            below = self._table(level - 1)
        table.below[index] = below
        always = 0b111 if rng.randrange(3) else 0b001
        return below.gpa | flags(rng, always, 0b110, A | GLOBAL | IGNORED) | self._rarely_nx()

    def _shared(self, level: int) -> GuestTable | None:
        """An existing table of the next level, or rarely of any: a page-table that maps itself."""
        rng = self.world.rng
        if rng.randrange(40) == 0:
            return rng.choice([table for tables in self.by_level.values() for table in tables])
        if self.by_level[level - 1] and rng.randrange(3) == 0:
            return rng.choice(self.by_level[level - 1])
        return None

    def _rarely_nx(self) -> int:
        return 1 << 63 if self.world.rng.randrange(16) == 0 else 0

    def _leaf_bits(self, level: int) -> int:
        rng = self.world.rng
        word = flags(rng, 1, 0b110, A | D | GLOBAL | IGNORED) | self._rarely_nx()
        word |= rng.choice((0, 0, 1, 2, 15)) << 59
        return word | (1 << 7 | rng.randrange(2) << 12 if level > 1 else rng.randrange(2) << 7)

    def _target(self, level: int) -> int:
        rng, align = self.world.rng, ~((1 << level_bits(level)) - 1)
        if rng.randrange(16) == 0:
            return rng.randrange(1 << self.world.maxphyaddr) & align & ~0xFFF
        if self.stage is None:
            return rng.randrange(FRAMES * 4096) & align & ~0xFFF
        fitting = [window for window in self.stage.windows if window[1] >= level - 1 and rng.randrange(8)]
        gpa, size, _ = rng.choice(fitting or self.stage.windows)
        inside = rng.randrange(1 << level_bits(size + 1))
        return (gpa + inside) & align & ~0xFFF

    def addresses(self, root: GuestTable, count: int) -> list[int]:
        """Linear addresses on the way to entries that exist, mostly."""
        rng = self.world.rng
        found = []
        for _ in range(count):
            table: GuestTable | None = root
            address = 0
            for level in range(self.levels, 0, -1):
                known = list(table.below) if table is not None else []
                index = rng.choice(known) if known and rng.randrange(24) else rng.choice(INDICES)
                address |= index << level_bits(level)
                table = table.below.get(index) if table is not None else None
            found.append(sign_extended(address, self.levels))
        return found


def sign_extended(address: int, levels: int) -> int:
    top = 57 if levels == 5 else 48
    return address | ((1 << 64) - (1 << top) if address >> top - 1 & 1 else 0)
