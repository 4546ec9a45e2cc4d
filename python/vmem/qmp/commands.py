"""What a client may ask, once it has negotiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vmem import __version__
from vmem.qmp.arguments import Parameter
from vmem.qmp.errors import QmpError
from vmem.qmp.machine import Machine
from vmem.qmp.objects import Object, resolve, tree
from vmem.qmp.values import Value


class Monitored(NamedTuple):
    """What commands are about."""

    machine: Machine
    epoch: int
    """Nanoseconds of 1970 when the host's clock shows 0."""


class Command(NamedTuple):
    """`run` gets what the command is about and the arguments, checked, by their names."""

    run: Callable[..., Value]
    parameters: tuple[Parameter, ...] = ()


def version() -> Value:
    """The QEMU whose replies these are, and what really answers."""
    return {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": f"vmem {__version__}"}


def _balloon(about: Monitored, value: int) -> Value:
    about.machine.set_target(value)
    return {}


def _query_balloon(about: Monitored) -> Value:
    return {"actual": about.machine.actual}


def _object(about: Monitored, path: str) -> Object:
    return resolve(tree(about.machine, about.epoch), path)


def _qom_get(about: Monitored, path: str, property: str) -> Value:
    return _object(about, path).find(property).get()


def _qom_set(about: Monitored, path: str, property: str, value: Value) -> Value:
    found = _object(about, path).find(property)
    if found.set is None:
        raise QmpError(f"Property '{found.owner}.{property}' is not writable")
    found.set(value)
    return {}


def _qom_list(about: Monitored, path: str) -> Value:
    return _object(about, path).listing()


def _query_status(about: Monitored) -> Value:
    status = about.machine.status
    return {"running": status == "running", "singlestep": False, "status": status}


def _does(act: Callable[[Machine], None]) -> Command:
    """A command without arguments whose reply says nothing."""

    def run(about: Monitored) -> Value:
        act(about.machine)
        return {}

    return Command(run)


def _query_commands(about: Monitored) -> Value:
    return [{"name": name} for name in (NEGOTIATE, *COMMANDS)]


NEGOTIATE = "qmp_capabilities"
"""The one command that belongs to the session, not to the machine."""

_PATH, _PROPERTY = Parameter("path", "string"), Parameter("property", "string")

COMMANDS: dict[str, Command] = {
    "balloon": Command(_balloon, (Parameter("value", "integer"),)),
    "query-balloon": Command(_query_balloon),
    "qom-get": Command(_qom_get, (_PATH, _PROPERTY)),
    "qom-set": Command(_qom_set, (_PATH, _PROPERTY, Parameter("value", "any"))),
    "qom-list": Command(_qom_list, (_PATH,)),
    "query-status": Command(_query_status),
    "stop": _does(Machine.stop),
    "cont": _does(Machine.resume),
    "system_reset": _does(Machine.reset),
    "query-memory-size-summary": Command(
        lambda about: {"base-memory": about.machine.memory, "plugged-memory": 0}
    ),
    "query-name": Command(lambda about: {"name": about.machine.name}),
    "query-version": Command(lambda about: version()),
    "query-commands": Command(_query_commands),
    "quit": _does(lambda machine: machine.shut_down("host-qmp-quit")),
}
"""By name."""
