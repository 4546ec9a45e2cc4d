"""Physical memory, as a dictionary of 8-byte words."""

ALL_ONES = (1 << 64) - 1


class Memory:
    """`size` bytes, zero until written."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.words: dict[int, int] = {}

    def read(self, address: int) -> int:
        """Physical memory that does not exist reads as all ones (mmu.md, "The walk, one dimension")."""
        if address + 8 > self.size:
            return ALL_ONES
        return self.words.get(address, 0)

    def write(self, address: int, word: int) -> None:
        """A store to memory that does not exist is lost."""
        if address + 8 <= self.size:
            self.words[address] = word
