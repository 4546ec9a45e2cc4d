"""Addresses, page numbers and page sizes (mmu.md, "One access")."""

PAGE_BITS = (12, 21, 30)
ADDRESS_FIELD = 0x000F_FFFF_FFFF_F000


def page_bytes(size: int) -> int:
    return 1 << PAGE_BITS[size]


def page_number(address: int, bits: int) -> int:
    """The low 57 bits of the address shifted right by the page's bits."""
    return (address & (1 << 57) - 1) >> bits


def canonical(address: int, levels: int) -> bool:
    """Bits 63:47, or 63:56 with five levels, are all equal."""
    top = address >> (56 if levels == 5 else 47)
    return top == 0 or top == (1 << (8 if levels == 5 else 17)) - 1


def table_index(address: int, level: int) -> int:
    """Which of the 512 entries of a table of that level (1: the last)."""
    return address >> 12 + 9 * (level - 1) & 511


def level_bits(level: int) -> int:
    """How many low bits of the address one entry of that level covers."""
    return 12 + 9 * (level - 1)
