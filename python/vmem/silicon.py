"""The silicon alone: physical memory and an MMU, with no hypervisor and no guest kernel."""

from __future__ import annotations

from vmem import _core
from vmem.cpu import Cpu, resolve_cpu
from vmem.sizes import Size, parse_size


class PhysicalMemory(_core.PhysicalMemory):
    """`size` bytes of physical memory, zero until written; costs only what is written.

    `read(pa, length)` → bytes, `write(pa, data)`, `array`: a writable uint8 view of all of it.
    """

    def __init__(self, size: Size) -> None:
        super().__init__(parse_size(size, "PhysicalMemory size"))


class Mmu(_core.Mmu):
    """One processor's memory-management unit over a PhysicalMemory, by the rules of docs/design/mmu.md.

    `set_state` sets registers and implies no invalidation; registers not named keep their value. `eptp` or
    `ncr3` select two dimensions (0: one again). `access` returns a result with `.ok`, `.pa`, `.page_size`
    (bytes) or `.fault`; `probe` the same, changing nothing.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        cpu: Cpu | str = "skylake-sp",
        *,
        maxphyaddr: int | None = None,
        one_gib_pages: bool | None = None,
        execute_only: bool | None = None,
    ) -> None:
        given = {"maxphyaddr": maxphyaddr, "one_gib_pages": one_gib_pages, "execute_only": execute_only}
        config = resolve_cpu(cpu).replace(
            **{name: value for name, value in given.items() if value is not None}
        )
        super().__init__(memory, config._core())
