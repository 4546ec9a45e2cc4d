"""What a fleet looks like in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vmem.fleet.samples import Fleet


@dataclass(frozen=True)
class Statistics:
    """Why memory can be overcommitted. In clusters typically 4 to 6, 2 to 3.5, and 0.04 to 0.05."""

    vms: int
    provisioned: int
    """Bytes promised in all."""
    peak: int
    """The most that all used together at one time."""
    provisioned_to_peak: float
    """Provisioned, to the peak of the sum."""
    peaks_to_peak: float
    """The sum of each VM's own peak, to the peak of the sum: how little they peak together."""
    used_median: float
    """Median over VMs and time of used to provisioned."""


def statistics(fleet: Fleet) -> Statistics:
    """Of all VMs over all times, each sample holding until the next of its VM."""
    times = np.unique(np.concatenate([np.array(vm.times) for vm in fleet.vms]))
    total = np.zeros(len(times))
    shares = []
    for vm in fleet.vms:
        at = np.searchsorted(np.array(vm.times), times, side="right") - 1
        used = np.where(at < 0, 0, np.array(vm.used, dtype=np.float64)[np.maximum(at, 0)])
        total += used
        shares.append(used[at >= 0] / vm.provisioned)
    provisioned = sum(vm.provisioned for vm in fleet.vms)
    peak, peaks = float(total.max()), sum(max(vm.used) for vm in fleet.vms)
    return Statistics(
        len(fleet.vms),
        provisioned,
        int(peak),
        provisioned / peak if peak else float("inf"),
        peaks / peak if peak else 1.0,
        float(np.median(np.concatenate(shares))),
    )
