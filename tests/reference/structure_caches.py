"""Paging-structure caches of both dimensions and the nested TLB (mmu.md, both sections on walks)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from reference.address import PAGE_BITS, level_bits, page_number
from reference.caches import SetAssociative
from reference.config import Geometry
from reference.permissions import HostRights

Tag = TypeVar("Tag")


class GuestTable(NamedTuple):
    """A guest table: where it really is, and in two dimensions its guest-physical page and what the second
    stage allows there.
    """

    base: int
    gpa: int = 0
    host: HostRights = HostRights()


@dataclass
class Structure(Generic[Tag]):
    """What the entry of `level` above `page` leads to."""

    tag: Tag
    level: int
    page: int
    table: Any
    rights: Any


class StructureCaches(Generic[Tag]):
    """One cache per level of entries, tagged with the context (first dimension) or the root (second)."""

    def __init__(self, geometries: dict[int, Geometry]) -> None:
        self.caches = {
            level: SetAssociative[Structure[Tag]](geometry) for level, geometry in geometries.items()
        }

    def find(self, tag: Tag, address: int, levels: int) -> Structure[Tag] | None:
        """From the PDE cache upwards, the first hit. A hit touches."""
        for level in range(2, levels + 1):
            cache = self.caches.get(level)
            if cache is None:
                continue
            page = page_number(address, level_bits(level))
            found = cache.find(page, self._selector(tag, page))
            if found is not None:
                cache.touch(page, found)
                return found
        return None

    @staticmethod
    def _selector(tag: Tag, page: int) -> Callable[[Structure[Tag]], bool]:
        return lambda structure: structure.tag == tag and structure.page == page

    def insert(self, tag: Tag, address: int, level: int, table: Any, rights: Any) -> None:
        cache = self.caches.get(level)
        if cache is not None:
            page = page_number(address, level_bits(level))
            cache.insert(page, (page, tag), Structure(tag, level, page, table, rights))

    def drop(self, matches: Callable[[Structure[Tag]], bool]) -> None:
        for cache in self.caches.values():
            cache.drop(matches)

    def drop_address(self, tag: Tag, address: int) -> None:
        """The entries of every level that would be used for the address."""
        self.drop(lambda s: s.tag == tag and s.page == page_number(address, level_bits(s.level)))


@dataclass
class HostPage:
    """One gPA to hPA translation of a page of `size`."""

    root: int
    page: int
    size: int
    base: int
    rights: HostRights
    dirty: bool

    def physical(self, gpa: int) -> int:
        return self.base | gpa & (1 << PAGE_BITS[self.size]) - 1


class NestedTlb:
    def __init__(self, geometry: Geometry | None) -> None:
        self.cache = None if geometry is None else SetAssociative[HostPage](geometry)

    def find(self, root: int, gpa: int, usable: Callable[[HostPage], bool]) -> HostPage | None:
        """By size, smallest first; a match that cannot be used counts as not found. A use touches."""
        for size in (0, 1, 2):
            if self.cache is None:
                return None
            number = page_number(gpa, PAGE_BITS[size])
            found = self.cache.find(number, self._selector(root, size, number))
            if found is not None and usable(found):
                self.cache.touch(number, found)
                return found
        return None

    @staticmethod
    def _selector(root: int, size: int, number: int) -> Callable[[HostPage], bool]:
        return lambda page: page.root == root and page.size == size and page.page == number

    def insert(self, page: HostPage) -> None:
        if self.cache is not None:
            self.cache.insert(page.page, (page.root, page.size, page.page), page)

    def drop(self, matches: Callable[[HostPage], bool]) -> None:
        if self.cache is not None:
            self.cache.drop(matches)

    def drop_address(self, root: int, gpa: int) -> None:
        self.drop(lambda p: p.root == root and p.page == page_number(gpa, PAGE_BITS[p.size]))
