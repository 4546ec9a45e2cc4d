"""Demand of many VMs: from monitoring data with its dirt, or synthetic. Guide: docs/guides/policies.md."""

from __future__ import annotations

from vmem.fleet.samples import Dirt, Fleet, Series, read_fleet, write_fleet
from vmem.fleet.statistics import Statistics, statistics
from vmem.fleet.synthetic import Synthetic, synthesize

__all__ = [
    "Dirt",
    "Fleet",
    "Series",
    "Statistics",
    "Synthetic",
    "read_fleet",
    "statistics",
    "synthesize",
    "write_fleet",
]
