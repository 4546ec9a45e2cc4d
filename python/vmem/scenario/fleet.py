"""[[fleet]]: VMs made of demand curves, one for each VM of a file, or as many synthetic ones as asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from vmem.decode import Bytes, Nanoseconds, Place, decode_table
from vmem.scenario.workloads import Demand

if TYPE_CHECKING:
    from vmem.fleet import Fleet, Series

_PAGE = 4096
_ROOM = 64 << 20
"""Of a VM's memory: what its kernel needs beside its program."""

Share = Annotated[float, Meta(ge=0, le=1, description="a share from 0 to 1")]
Number = Annotated[float, Meta(gt=0, le=10**6, description="a number above 0")]


class Generate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A synthetic fleet: `vmem.fleet.Synthetic`, but for the seed, which is the host's."""

    vms: Annotated[int, Meta(ge=2, le=100_000, description="a number of VMs from 2")] = 40
    duration: Nanoseconds = 24 * 3600 * 10**9
    interval: Nanoseconds = 300 * 10**9
    provisioned_to_peak: Number = 5.0
    peaks_to_peak: Number = 2.7
    used_median: Share = 0.045


def _decode_generate(value: object, at: Place) -> Generate:
    return decode_table(Generate, value, at)


class FleetTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """VMs that differ by their demand. All other keys of [[vm]] are theirs too, but for count and process."""

    curves: Annotated[str, Meta(min_length=1, description="a CSV file")] | None = None
    generate: (
        Annotated[Generate, Meta(description="a table of parameters", extra={"decode": _decode_generate})]
        | None
    ) = None
    active: Share = 0.25
    """Of what a VM uses: the part that its program references all the time."""
    compute: Nanoseconds = 10_000_000
    page: Annotated[str, Meta(description="a page size")] = "4KiB"
    scale: Number = 1.0
    """All sizes are multiplied by it."""
    speed: Number = 1.0
    """All times are divided by it."""
    least: Bytes = 128 << 20
    """Of a VM's memory, after scaling."""


OWN = FleetTable.__struct_fields__


def expand(value: object, at: Place, seed: int) -> list[dict[str, Any]]:
    """Tables [[vm]], to be decoded. ConfigError says what is wrong."""
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        at.reject(value, "one or more tables, each after [[fleet]]")
    return [vm for i, table in enumerate(value) for vm in _expand(table, at.index(i), seed)]


def _expand(table: dict[str, Any], at: Place, seed: int) -> list[dict[str, Any]]:
    for key in ("count", "process", "memory", "group"):
        if key in table:
            at.key(key).reject(table[key], "nothing: the curves say that")
    spec = decode_table(FleetTable, {key: table[key] for key in table if key in OWN}, at)
    name = table.get("name")
    if not isinstance(name, str):
        at.key("name").reject(name, "a name, which begins those of the VMs")
    shared = {key: item for key, item in table.items() if key not in OWN and key != "name"}
    fleet = _fleet(spec, at, seed)
    return [{**shared, **_vm(vm, spec, name)} for vm in fleet.vms]


def _fleet(spec: FleetTable, at: Place, seed: int) -> Fleet:
    from vmem.fleet import Synthetic, read_fleet, synthesize

    if (spec.curves is None) == (spec.generate is None):
        at.reject(None, "either curves, a CSV file, or generate, and one of them")
    if spec.curves is not None:
        return read_fleet(at.base / spec.curves)
    assert spec.generate is not None
    return synthesize(Synthetic(**msgspec.structs.asdict(spec.generate), seed=seed))


def _vm(vm: Series, spec: FleetTable, fleet: str) -> dict[str, Any]:
    memory = max(spec.least, _pages(vm.provisioned * spec.scale))
    most = memory - min(_ROOM, memory // 4)
    curve: list[list[int]] = []
    times = (0, *vm.times) if vm.times[0] else vm.times
    used = (0, *vm.used) if vm.times[0] else vm.used
    for time, size in zip(times, used, strict=True):
        allocated = min(_pages(size * spec.scale), most)
        row = [round(time / spec.speed), allocated, min(allocated, _pages(allocated * spec.active))]
        if not curve or (row[1:] != curve[-1][1:] and row[0] > curve[-1][0]):
            curve.append(row)
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in vm.name)
    workload = {"kind": Demand.kind, "curve": curve, "compute": spec.compute}
    return {
        "name": f"{fleet}-{name}"[:64],
        "group": fleet,
        "memory": memory,
        "process": [{"workload": workload, "page": spec.page}],
    }


def _pages(size: float) -> int:
    return -(-int(size) // _PAGE) * _PAGE
