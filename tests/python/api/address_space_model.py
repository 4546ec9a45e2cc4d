"""What an address space is to the program in it: pages with a protection and bytes. No tables, no frames,
no TLBs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PAGE = 4096


@dataclass
class Page:
    prot: str
    contents: bytearray | None = None
    """None: zeros that were never written."""


@dataclass
class Model:
    """One process. Pages are by number; ranges are (first page, count)."""

    pages: dict[int, Page] = field(default_factory=dict)
    heap_start: int = 0
    heap_end: int = 0

    def overlaps(self, first: int, count: int) -> bool:
        return any(page in self.pages for page in range(first, first + count))

    def map(self, first: int, count: int, prot: str) -> None:
        for page in range(first, first + count):
            self.pages[page] = Page(prot)

    def unmap(self, first: int, count: int) -> None:
        for page in range(first, first + count):
            self.pages.pop(page, None)

    def covers(self, first: int, count: int) -> bool:
        return all(page in self.pages for page in range(first, first + count))

    def protect(self, first: int, count: int, prot: str) -> None:
        for page in range(first, first + count):
            self.pages[page].prot = prot

    def allows(self, page: int, access: str) -> bool:
        """Loads need any right, as on x86; stores need w, fetches x."""
        if page not in self.pages:
            return False
        prot = self.pages[page].prot
        return prot != "-" if access == "load" else {"store": "w", "fetch": "x"}[access] in prot

    def write(self, address: int, data: bytes) -> int | None:
        """Writes page by page; the address that faults, or None."""
        while data:
            offset = address % PAGE
            part = data[: PAGE - offset]
            if not self.allows(address // PAGE, "store"):
                return address
            page = self.pages[address // PAGE]
            page.contents = page.contents or bytearray(PAGE)
            page.contents[offset : offset + len(part)] = part
            address, data = address + len(part), data[len(part) :]
        return None

    def read(self, address: int, length: int) -> bytes | int:
        """The bytes, or the address that faults."""
        result = bytearray()
        while len(result) < length:
            at = address + len(result)
            if not self.allows(at // PAGE, "load"):
                return at
            contents = self.pages[at // PAGE].contents or bytes(PAGE)
            result += contents[at % PAGE :][: length - len(result)]
        return bytes(result)

    def fork(self) -> Model:
        copies = {
            number: Page(page.prot, None if page.contents is None else bytearray(page.contents))
            for number, page in self.pages.items()
        }
        return Model(copies, self.heap_start, self.heap_end)
