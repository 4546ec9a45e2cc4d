"""The ways in which a host gets memory back from one VM: `create_vm(reclaim=...)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from vmem import checks
from vmem.durations import Duration, parse_duration
from vmem.errors import ConfigError

Reclaim = Literal["swap", "none", "balloon", "reporting", "scan", "hypercall", "hypercall-batched"]
WAYS: tuple[Reclaim, ...] = get_args(Reclaim)
WHAT: dict[Reclaim, str] = {
    "swap": "the host's swap alone",
    "none": "nothing: the VM keeps what it once touched",
    "balloon": "a balloon of 4 KiB pages, and the swap",
    "reporting": "the guest reports free blocks of 2 MiB every 2 s, and the swap",
    "scan": "the host looks through the guest's free lists, and the swap",
    "hypercall": "the guest names each block that it frees, and the swap",
    "hypercall-batched": "the guest names 512 freed blocks at a time, and the swap",
}


@dataclass(frozen=True)
class Way:
    """As the core takes it."""

    free_calls: str
    scan_period: int
    scan_pauses: bool
    can_be_swapped: bool
    balloon: bool | Mapping[str, bool] | None


def accept_way(
    reclaim: Reclaim,
    balloon: bool | Mapping[str, bool] | None,
    scan_period: Duration,
    scan_pauses: bool,
    name: str,
) -> Way:
    """ConfigError for a way that there is not, or a balloon that contradicts it."""
    checks.one_of(reclaim, f"reclaim of VM {name!r}", WAYS)
    period = parse_duration(scan_period, f"scan_period of VM {name!r}")
    if period <= 0:
        raise ConfigError(f"scan_period of VM {name!r}: {scan_period!r}; accepted is more than 0")
    if reclaim in ("balloon", "reporting"):
        if balloon is False:
            raise ConfigError(f"VM {name!r}: reclaim={reclaim!r} and balloon=False; accepted is one of them")
        features = {} if balloon is None or balloon is True else balloon
        extra = {"free_page_reporting": True} if reclaim == "reporting" else {}
        balloon = {**features, **extra} if isinstance(features, Mapping) else features
    return Way(
        free_calls={"hypercall": "each", "hypercall-batched": "batched"}.get(reclaim, "none"),
        scan_period=period if reclaim == "scan" else 0,
        scan_pauses=checks.flag(scan_pauses, "scan_pauses"),
        can_be_swapped=reclaim != "none",
        balloon=balloon,
    )
