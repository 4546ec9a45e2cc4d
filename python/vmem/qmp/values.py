"""JSON values as Python has them: integers have 64 bits, signed or not; larger numbers are floats."""

from __future__ import annotations

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
