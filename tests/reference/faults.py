"""Faults as the model raises them inside a walk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Fault(Exception):
    """`kind` is as vmem names it. Fields that do not belong to the kind are 0.

    `level` and `entry` are of the entry that stopped the walk; 0 where none did.
    """

    kind: str
    error_code: int = 0
    qualification: int = 0
    gpa: int = 0
    level: int = 0
    entry: int = 0

    @property
    def vector(self) -> int | None:
        return {"page_fault": 14, "general_protection": 13}.get(self.kind)

    @property
    def of_second_stage(self) -> bool:
        return self.kind in ("ept_violation", "ept_misconfiguration", "nested_page_fault")
