"""What an explanation is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vmem.explain.entries import decode

if TYPE_CHECKING:
    from vmem.hypervisor import Vm


@dataclass(frozen=True)
class Step:
    """One thing that happened. Which fields say something depends on `kind`:

    - `tlb`: lookup in the TLB `name` (`l1d`, `l1i`, `l2`, `software`): `hit`;
    - `walk`: a page walk begins; reads are numbered from 1 again;
    - `cache`: lookup in `psc`, `host_psc` or `nested_tlb`: `hit`, `level` of the entry found, `address`;
    - `read`: reference `number` of the walk: the entry of `level` of the `table` at `address`;
    - `software_walk`: the guest's kernel walks its table itself: `number` entries;
    - `fault`: what the processor reports: `name`, `fault`;
    - `exit`: to the hypervisor, for the reason `name`;
    - `verdict`: what the fault turned out to be, a counter `faults.<name>`;
    - `decision`: the hypervisor's: `retry`, `inject`, `emulate`, `stall`, `kill`; `waited_ns` for a disk;
    - `handler`: what the guest's kernel did with its fault: `resolved`, `signal`, `killed`;
    - `change`: an entry is another than `before` (None: it has come onto the way only now);
    - `assist`: the processor sets the dirty bit of a page whose TLB entry is clean;
    - `flush`: `number` whole contexts invalidated;
    - `result`: `done` at the machine address `address`, or `signal`.
    """

    kind: str
    name: str
    hit: bool
    number: int
    table: str
    """`guest`, `second_stage` or `shadow`."""
    level: int
    address: int
    """Guest-physical in the guest's table, else a machine address."""
    entry: int
    before: int | None
    bits: str
    """The entry in words."""
    fault: dict[str, Any] | None
    waited_ns: int
    cycles: int


@dataclass(frozen=True)
class Explanation:
    """An access and its steps; `print` shows it as text, `svg` as a picture, `as_dict` as data."""

    mmu: str
    vm: str
    address: int
    access: str
    guest_levels: int
    host_levels: int
    nested_format: str
    """`ept` or `npt`."""
    steps: tuple[Step, ...]
    counters: dict[str, int]
    """What the access has counted. Every reference and every exit in it is a step."""
    cycles: int
    """The sum of the steps', by the cost model."""

    @classmethod
    def from_core(cls, told: dict[str, Any], vm: Vm, address: int, access: str) -> Explanation:
        nested_format = vm.cpu.nested_format
        steps = tuple(
            Step(
                **step,
                bits=decode(step["entry"], step["table"], step["level"], nested_format)
                if step["kind"] in ("read", "change")
                else "",
            )
            for step in told["steps"]
        )
        levels = (vm.cpu.guest_levels, vm.cpu.host_levels)
        return cls(
            vm.mmu, vm.name, address, access, *levels, nested_format, steps, told["counters"], told["cycles"]
        )

    def reads(self) -> list[list[Step]]:
        """The references of each walk, in order."""
        walks: list[list[Step]] = []
        for step in self.steps:
            if step.kind == "walk":
                walks.append([])
            elif step.kind == "read":
                walks[-1].append(step)
        return walks

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    def svg(self) -> str:
        """The last walk as a picture: the grid of a two-dimensional walk, or a row of tables."""
        from vmem.explain.svg import draw

        return draw(self)

    def __str__(self) -> str:
        from vmem.explain.text import lines

        return "\n".join(lines(self))
