"""The objects of qom-get, qom-set and qom-list: a branch of QEMU's tree, with the balloon at its tip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vmem.qmp.arguments import check_type
from vmem.qmp.errors import QmpError
from vmem.qmp.machine import Machine
from vmem.qmp.values import Value


@dataclass(frozen=True)
class Property:
    """`set` is None for what cannot be written; `owner` is the type whose property it is."""

    type: str
    owner: str
    get: Callable[[], Value]
    set: Callable[[Value], None] | None = None


@dataclass(frozen=True)
class Object:
    """Properties and children, by name."""

    type: str
    properties: dict[str, Property] = field(default_factory=dict)
    children: dict[str, Object] = field(default_factory=dict)

    def find(self, name: str) -> Property:
        """QmpError if it has no such property."""
        if name == "type":
            return Property("string", self.type, lambda: self.type)
        if name not in self.properties:
            raise QmpError(f"Property '{self.type}.{name}' not found")
        return self.properties[name]

    def listing(self) -> list[Value]:
        """As qom-list answers."""
        own = {name: self.find(name).type for name in ("type", *self.properties)}
        below = {name: f"child<{child.type}>" for name, child in self.children.items()}
        return [{"name": name, "type": type} for name, type in {**own, **below}.items()]


def tree(machine: Machine, epoch: int) -> Object:
    """The root of a VM's objects."""
    devices = {"balloon0": _balloon(machine, epoch)} if machine.has_balloon else {}
    peripheral = Object("container", children=devices)
    machine_object = Object("vmem-machine", children={"peripheral": peripheral})
    return Object("container", children={"machine": machine_object})


def resolve(root: Object, path: str) -> Object:
    """An object by its absolute path, or by the last parts of it. QmpError: there is none, or several."""
    parts = [part for part in path.split("/") if part]
    starts = [root] if path.startswith("/") else _all(root) if parts else []
    found = [end for start in starts if (end := _descend(start, parts)) is not None]
    if len(found) != 1:
        raise QmpError(f"Device '{path}' not found", "DeviceNotFound")
    return found[0]


def _descend(start: Object, parts: list[str]) -> Object | None:
    at: Object | None = start
    for part in parts:
        at = None if at is None else at.children.get(part)
    return at


def _all(root: Object) -> list[Object]:
    return [root, *(below for child in root.children.values() for below in _all(child))]


def _balloon(machine: Machine, epoch: int) -> Object:
    device = "virtio-balloon-device"  # what the PCI device passes these properties on to
    return Object(
        "virtio-balloon-pci",
        {
            "guest-stats-polling-interval": Property(
                "int",
                device,
                lambda: machine.balloon.polling_interval,
                lambda value: _set_interval(machine, value),
            ),
            "guest-stats": Property("guest statistics", device, lambda: machine.statistics(epoch)),
        },
    )


def _set_interval(machine: Machine, value: Value) -> None:
    check_type(value, "integer", "guest-stats-polling-interval")
    assert isinstance(value, int)
    if value < 0:
        raise QmpError("timer value must be greater than zero")
    if value >= 2**32:
        raise QmpError("timer value is too big")
    machine.balloon.polling_interval = value
