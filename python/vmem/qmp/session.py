"""One client's conversation: bytes in, bytes out, no input or output of its own."""

from __future__ import annotations

from collections.abc import Iterator

from vmem.errors import ConfigError, OutOfMemory
from vmem.qmp.arguments import Parameter, check_arguments
from vmem.qmp.commands import COMMANDS, NEGOTIATE, Monitored, version
from vmem.qmp.encode import encode
from vmem.qmp.errors import QmpError
from vmem.qmp.events import Event
from vmem.qmp.messages import Messages
from vmem.qmp.order import ordered
from vmem.qmp.values import Value

_CAPABILITIES = ("oob",)
"""No command here runs out of band; clients that ask whether one does are told so."""


class Session:
    """Greets; takes nothing but `qmp_capabilities` until it has come; then answers commands in their order.

    Events are for those who have negotiated.
    """

    def __init__(self, about: Monitored) -> None:
        self._about = about
        self._messages = Messages()
        self._enabled: tuple[str, ...] | None = None
        """Capabilities; None: not negotiated."""

    def greeting(self) -> bytes:
        """What a client gets first."""
        return encode({"QMP": {"version": version(), "capabilities": list(_CAPABILITIES)}})

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The replies to what these bytes complete, one after the other.

        A command is carried out when its reply is taken; none is after the VM has ended.
        """
        for message in self._messages.feed(data):
            if self._about.machine.ended:
                return
            yield encode(
                self._failure(message, None) if isinstance(message, QmpError) else self._answer(message)
            )

    def event(self, event: Event) -> bytes | None:
        """How the client is told; None if it is not."""
        if self._enabled is None:
            return None
        at = self._about.epoch + event.at
        told: dict[str, Value] = {
            "event": event.name,
            "timestamp": {"seconds": at // 10**9, "microseconds": at % 10**9 // 1000},
        }
        return encode(told if event.data is None else {**told, "data": dict(event.data)})

    def _answer(self, message: Value) -> Value:
        try:
            if not isinstance(message, dict):
                raise QmpError("QMP input must be a JSON object")
            reply: dict[str, Value] = {"return": self._carry_out(message)}
        except QmpError as error:
            return self._failure(error, message)
        except (ConfigError, OutOfMemory) as error:
            return self._failure(QmpError(str(error)), message)
        return reply if "id" not in message else {**reply, "id": message["id"]}

    def _failure(self, error: QmpError, message: Value) -> Value:
        reply: dict[str, Value] = {"error": {"class": error.kind, "desc": error.desc}}
        return {**reply, "id": message["id"]} if isinstance(message, dict) and "id" in message else reply

    def _carry_out(self, message: dict[str, Value]) -> Value:
        key = self._check_members(message)
        name, arguments = str(message[key]), message.get("arguments", {})
        assert isinstance(arguments, dict)
        if self._enabled is None and name != NEGOTIATE:
            raise QmpError("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound")
        if name not in (*COMMANDS, NEGOTIATE):
            raise QmpError(f"The command {name} has not been found", "CommandNotFound")
        if key == "exec-oob":
            raise QmpError(f"The command {name} does not support OOB")
        if name == NEGOTIATE:
            return self._negotiate(arguments)
        command = COMMANDS[name]
        return command.run(self._about, **check_arguments(arguments, command.parameters))

    def _check_members(self, message: dict[str, Value]) -> str:
        """What names the command: "execute", or "exec-oob" for those who have the capability."""
        found = None
        for key, value in ordered(message):
            if key == "execute" or (key == "exec-oob" and self._enabled and "oob" in self._enabled):
                if not isinstance(value, str):
                    raise QmpError(f"QMP input member '{key}' must be a string")
                if found is not None:
                    raise QmpError(f"QMP input member '{key}' clashes with '{found}'")
                found = key
            elif key == "arguments":
                if not isinstance(value, dict):
                    raise QmpError("QMP input member 'arguments' must be an object")
            elif key != "id":
                raise QmpError(f"QMP input member '{key}' is unexpected")
        if found is None:
            raise QmpError("QMP input lacks member 'execute'")
        return found

    def _negotiate(self, arguments: dict[str, Value]) -> Value:
        wanted = check_arguments(arguments, (Parameter("enable", "array", required=False),)).get("enable", [])
        assert isinstance(wanted, list)
        if self._enabled is not None:
            raise QmpError("Capabilities negotiation is already complete, command ignored", "CommandNotFound")
        enabled = []
        for index, capability in enumerate(wanted):
            if not isinstance(capability, str):
                raise QmpError(f"Invalid parameter type for 'enable[{index}]', expected: string")
            if capability not in _CAPABILITIES:  # QEMU has no name for an element of a list
                raise QmpError(f"Parameter 'null' does not accept value '{capability}'")
            enabled.append(capability)
        self._enabled = tuple(enabled)
        return {}
