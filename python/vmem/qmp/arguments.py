"""The arguments of a command, checked in the order in which QEMU looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from vmem.qmp.errors import QmpError
from vmem.qmp.values import Value

Type = Literal["integer", "string", "array", "any"]


class Parameter(NamedTuple):
    """An argument that a command takes."""

    name: str
    type: Type
    required: bool = True


def check_arguments(given: Mapping[str, Value], parameters: tuple[Parameter, ...]) -> dict[str, Value]:
    """Those that were given. QmpError for one that is missing, of another type, or nobody's."""
    for parameter in parameters:
        if parameter.name in given:
            check_type(given[parameter.name], parameter.type, parameter.name)
        elif parameter.required:
            raise QmpError(f"Parameter '{parameter.name}' is missing")
    known = {parameter.name for parameter in parameters}
    for name in given:
        if name not in known:
            raise QmpError(f"Parameter '{name}' is unexpected")
    return dict(given)


def check_type(value: Value, type: Type, name: str) -> None:
    """QmpError if the value is of another type."""
    if not _is(value, type):
        raise QmpError(f"Invalid parameter type for '{name}', expected: {type}")


def _is(value: Value, type: Type) -> bool:
    if type == "integer":
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return type == "any" or isinstance(value, str if type == "string" else list)
