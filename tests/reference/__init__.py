"""A slow, obvious model of the MMU, written from docs/design/mmu.md alone, to check the simulator against.

Every rule is one function that names its section of that page. Nothing here is fast, and nothing is shared
with `csrc/`:
dictionaries and lists only, so that a disagreement means that one of the page, the model and the simulator is
wrong.
"""

from reference.config import Array, Config, Geometry
from reference.faults import Fault
from reference.memory import Memory
from reference.mmu import Mmu, Result
from reference.state import State

__all__ = ["Array", "Config", "Fault", "Geometry", "Memory", "Mmu", "Result", "State"]
