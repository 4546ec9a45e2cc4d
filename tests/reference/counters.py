"""The counters that the model keeps; every other counter of a bare MMU is 0 (mmu.md, throughout)."""

NAMES = (
    "accesses loads stores fetches l1i_hits l1d_hits l2_hits tlb_misses walks walk_refs walk_refs_guest "
    "walk_refs_host psc_hits nested_tlb_hits dirty_assists tlb_flushes"
).split()


class Counters(dict[str, int]):
    def __init__(self) -> None:
        super().__init__(dict.fromkeys(NAMES, 0))

    def count(self, *names: str) -> None:
        for name in names:
            self[name] += 1
