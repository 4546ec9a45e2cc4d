"""How many table entries a walk reads with nothing cached, as published; and the closed forms they follow.

With L levels and s = 0, 1, 2 for pages of 4 KiB, 2 MiB, 1 GiB, one dimension takes L - s reads. In two, with
g reads in the guest's table and h in the host's, each of the g guest-physical table addresses and the final
one needs a host walk: (g + 1) h + g = (g + 1)(h + 1) - 1.
"""

from __future__ import annotations

PAGES = ("4KiB", "2MiB", "1GiB")
LEVELS = (4, 5)

NATIVE = {
    4: {"4KiB": 4, "2MiB": 3, "1GiB": 2},
    5: {"4KiB": 5, "2MiB": 4, "1GiB": 3},
}

# Rows: levels and page size of the guest's table. Columns: pages of the host, in a host's table of four
# levels and in one of five.
NESTED_TABLE = """
4 4KiB  24 19 14  29 24 19
4 2MiB  19 15 11  23 19 15
4 1GiB  14 11  8  17 14 11
5 4KiB  29 23 17  35 29 23
5 2MiB  24 19 14  29 24 19
5 1GiB  19 15 11  23 19 15
"""
# (guest levels, guest page, host levels, host page) → reads
NESTED = {
    (int(row.split()[0]), row.split()[1], host_levels, host_page): int(row.split()[2 + 3 * high + column])
    for row in NESTED_TABLE.strip().splitlines()
    for high, host_levels in enumerate(LEVELS)
    for column, host_page in enumerate(PAGES)
}


def reads(levels: int, page: str) -> int:
    """g or h: the reads of one table alone."""
    return levels - PAGES.index(page)
