"""Monitoring data: rows of vm, time, provisioned, used. Its dirt is put right and counted."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from vmem.durations import parse_duration
from vmem.errors import ConfigError
from vmem.sizes import parse_size

COLUMNS = ("vm", "time", "provisioned", "used")
_GAP = 2.5
"""Of the usual distance of a VM's samples: more is a gap."""


@dataclass(frozen=True)
class Series:
    """One VM. Times are nanoseconds from the fleet's first sample, ascending; sizes are bytes."""

    name: str
    provisioned: int
    """The most that it ever was promised."""
    times: tuple[int, ...]
    used: tuple[int, ...]
    """Each holds until the next."""


@dataclass
class Dirt:
    """What was put right in a file, in rows (gaps: in gaps, resized: in VMs)."""

    duplicates: int = 0
    """Of the same VM and time: the last one counts."""
    unordered: int = 0
    """Before an earlier row of their VM: sorted."""
    unreadable: int = 0
    """An empty or impossible cell: left out."""
    above_provisioned: int = 0
    """More used than provisioned: taken as all of it."""
    gaps: int = 0
    """No sample where one was due: the last one holds."""
    resized: int = 0
    """Provisioned memory changed: the most of it counts, as a VM has memory for."""

    def __str__(self) -> str:
        found = [f"{getattr(self, each.name)} {each.name.replace('_', ' ')}" for each in fields(self)]
        return ", ".join(found)


@dataclass(frozen=True)
class Fleet:
    """The VMs of a file, in the order in which they first appear."""

    vms: tuple[Series, ...]
    dirt: Dirt = field(default_factory=Dirt)

    @property
    def duration(self) -> int:
        """Nanoseconds from the first sample to the last."""
        return max(vm.times[-1] for vm in self.vms)


def read_fleet(path: Path | str) -> Fleet:
    """A CSV file with the head line vm,time,provisioned,used.

    Times are seconds, durations ("5min") or ISO 8601; sizes are bytes or strings ("4GiB"). ConfigError where
    there is no such file or head, or not one row that can be read.
    """
    file = Path(path)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text (at byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; accepted is a CSV file") from None
    lines = csv.reader(io.StringIO(text))
    try:
        return _clean(lines, file)
    except csv.Error as error:
        raise ConfigError(f"{file}, line {lines.line_num}: {error}") from None


def _clean(lines: csv._reader, file: Path) -> Fleet:  # type: ignore[name-defined]
    head = [name.strip().lower() for name in next(lines, [])]
    if not set(COLUMNS) <= set(head):
        raise ConfigError(f"{file}: head line {','.join(head)[:80]!r}; accepted is {','.join(COLUMNS)!r}")
    places = [head.index(name) for name in COLUMNS]
    dirt = Dirt()
    samples: dict[str, dict[int, tuple[int, int]]] = {}
    last: dict[str, int] = {}
    for row in lines:
        if not row:
            continue
        sample = _sample(row, places)
        if sample is None:
            dirt.unreadable += 1
            continue
        name, time, provisioned, used = sample
        dirt.unordered += time < last.get(name, time)
        last[name] = max(time, last.get(name, time))
        dirt.duplicates += time in samples.setdefault(name, {})
        dirt.above_provisioned += used > provisioned
        samples[name][time] = provisioned, min(used, provisioned)
    if not samples:
        raise ConfigError(f"{file}: not one row can be read; accepted are rows of {','.join(COLUMNS)}")
    first = min(min(of) for of in samples.values())
    vms = tuple(_series(name, of, first, dirt) for name, of in samples.items())
    return Fleet(vms, dirt)


def _sample(row: Sequence[str], places: Sequence[int]) -> tuple[str, int, int, int] | None:
    try:
        name, time, provisioned, used = (row[place].strip() for place in places)
        sizes = _size(provisioned), _size(used)
        if not name or sizes[0] <= 0:
            return None
        return name, _time(time), *sizes
    except (IndexError, ValueError, ConfigError, OverflowError):
        return None


def _size(text: str) -> int:
    try:
        number = float(text)
    except ValueError:
        return parse_size(text, "size")
    if not math.isfinite(number) or number < 0 or number >= 2**63:
        raise ValueError(text)
    return int(number)


def _time(text: str) -> int:
    """Nanoseconds."""
    try:
        return round(float(text) * 1e9)
    except ValueError:
        pass
    try:
        return parse_duration(text, "time")
    except ConfigError:
        return round(datetime.fromisoformat(text).timestamp() * 1e9)


def _series(name: str, samples: dict[int, tuple[int, int]], first: int, dirt: Dirt) -> Series:
    times = sorted(samples)
    distances = [after - before for before, after in pairwise(times)]
    usual = median(distances) if distances else 0
    dirt.gaps += sum(distance > _GAP * usual for distance in distances)
    sizes = {samples[time][0] for time in times}
    dirt.resized += len(sizes) > 1
    return Series(
        name, max(sizes), tuple(time - first for time in times), tuple(samples[time][1] for time in times)
    )


def write_fleet(fleet: Fleet) -> bytes:
    """As a CSV file that `read_fleet` reads: seconds and bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for vm in fleet.vms:
        for time, used in zip(vm.times, vm.used, strict=True):
            writer.writerow((vm.name, f"{time / 1e9:g}", vm.provisioned, used))
    return text.getvalue().encode()
