"""Everything a walk may read, write or count."""

from __future__ import annotations

from dataclasses import dataclass

from reference.config import Config
from reference.counters import Counters
from reference.memory import Memory
from reference.state import Context, State
from reference.structure_caches import NestedTlb, StructureCaches


@dataclass
class Parts:
    """`pure`: a walk that writes no accessed or dirty bits."""

    config: Config
    memory: Memory
    state: State
    counters: Counters
    psc: StructureCaches[Context]
    host_psc: StructureCaches[int]
    nested_tlb: NestedTlb
    pure: bool = False

    def without_caches(self) -> Parts:
        """What a probe sees: no caches, nothing counted, nothing written."""
        return Parts(
            self.config,
            self.memory,
            self.state,
            Counters(),
            StructureCaches({}),
            StructureCaches({}),
            NestedTlb(None),
            pure=True,
        )
