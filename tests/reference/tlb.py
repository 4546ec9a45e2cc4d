"""TLB entries and levels (mmu.md, "One access")."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from reference.address import PAGE_BITS, page_number
from reference.caches import SetAssociative
from reference.config import Array
from reference.permissions import HostRights, Rights
from reference.state import Context


@dataclass
class TlbEntry:
    """One translation of a page of `size`, whose first byte is at `base`; a part of a guest's page of
    `guest_size`.
    """

    context: Context
    page: int
    size: int
    base: int
    is_global: bool
    rights: Rights
    key: int
    host: HostRights
    dirty: bool
    guest_size: int

    def physical(self, address: int) -> int:
        return self.base | address & (1 << PAGE_BITS[self.size]) - 1

    def covers(self, address: int) -> bool:
        return page_number(address, PAGE_BITS[self.size]) == self.page

    def in_same_guest_page(self, address: int) -> bool:
        """The page as the guest's table has it, which may be fractured into many entries."""
        own = self.page >> PAGE_BITS[self.guest_size] - PAGE_BITS[self.size]
        return page_number(address, PAGE_BITS[self.guest_size]) == own

    def visible_to(self, context: Context) -> bool:
        """A global entry matches any PCID of the same VPID and second-stage root ("Modes and state")."""
        same = self.context.vpid == context.vpid and self.context.root == context.root
        return same and (self.is_global or self.context.pcid == context.pcid)

    def shrunk_to(self, size: int, address: int) -> TlbEntry:
        """The part of that smaller size around the address."""
        first = self.physical(address) & ~((1 << PAGE_BITS[size]) - 1)
        return dataclasses.replace(self, size=size, base=first, page=page_number(address, PAGE_BITS[size]))


class TlbLevel:
    """A list of arrays; each holds one or more page sizes."""

    def __init__(self, arrays: tuple[Array, ...]) -> None:
        self.arrays = [(array.sizes, SetAssociative[TlbEntry](array.geometry)) for array in arrays]

    def _array_for(self, size: int) -> SetAssociative[TlbEntry] | None:
        for sizes, array in self.arrays:
            if size in sizes:
                return array
        return None

    def lookup(self, context: Context, address: int) -> TlbEntry | None:
        """Probed by size, smallest first, and for each size the own PCID before global entries. A hit
        touches.
        """
        for size in (0, 1, 2):
            array = self._array_for(size)
            if array is None:
                continue
            number = page_number(address, PAGE_BITS[size])
            for is_global in (False, True):
                entry = array.find(number, self._selector(context, size, number, is_global))
                if entry is not None:
                    array.touch(number, entry)
                    return entry
        return None

    @staticmethod
    def _selector(context: Context, size: int, number: int, is_global: bool) -> Callable[[TlbEntry], bool]:
        return lambda e: (
            e.size == size and e.page == number and e.is_global == is_global and e.visible_to(context)
        )

    def fill(self, entry: TlbEntry, address: int) -> None:
        """To the array of its size; fractured into the largest smaller size there is; else nowhere."""
        for size in range(entry.size, -1, -1):
            array = self._array_for(size)
            if array is not None:
                own = entry.shrunk_to(size, address) if size != entry.size else dataclasses.replace(entry)
                owner = own.context._replace(pcid=-1) if own.is_global else own.context
                key = (own.size, own.page, owner)
                array.insert(own.page, key, own)
                return

    def drop(self, matches: Callable[[TlbEntry], bool]) -> None:
        for _, array in self.arrays:
            array.drop(matches)

    def entries(self) -> list[TlbEntry]:
        return [entry for _, array in self.arrays for entry in array.values()]
