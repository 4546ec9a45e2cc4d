"""One conversation: negotiation, commands and their errors, and whatever else a client may send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmem import __version__
from vmem.qmp.commands import COMMANDS

from .clients import EPOCH, MIB, Client, one_vm

BALLOON = "/machine/peripheral/balloon0"
INTERVAL = "guest-stats-polling-interval"


@pytest.fixture
def client() -> Client:
    """Of a VM of 64 MiB with a balloon; has negotiated."""
    return Client(one_vm()).negotiate()


def test_greeting_and_negotiation() -> None:
    client = Client(one_vm())
    version = {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": f"vmem {__version__}"}
    greeting = {"QMP": {"version": version, "capabilities": ["oob"]}}
    assert client.session.greeting() == json.dumps(greeting).encode() + b"\r\n"
    too_early = ("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'")
    assert client.error("stop") == client.error("nonsense") == too_early
    assert client.error("qmp_capabilities", enable=["x"])[1] == "Parameter 'null' does not accept value 'x'"
    assert client.error("qmp_capabilities", enable=[1]) == (
        "GenericError",
        "Invalid parameter type for 'enable[0]', expected: string",
    )
    assert client.error("qmp_capabilities", enable="oob")[1].endswith("'enable', expected: array")
    assert client.error("stop") == too_early
    assert client.events == []
    client.negotiate("oob")
    assert client.error("qmp_capabilities")[0] == "CommandNotFound"
    (reply,) = client.send('{"exec-oob": "stop", "id": 1}')
    assert json.loads(reply)["error"]["desc"] == "The command stop does not support OOB"
    (reply,) = client.send('{"exec-oob": "stop", "execute": "stop"}')
    assert "clashes with" in json.loads(reply)["error"]["desc"]
    assert client.get("query-status")["running"]


def test_commands_that_are_listed_are_there(client: Client) -> None:
    listed = [entry["name"] for entry in client.get("query-commands")]
    assert listed == ["qmp_capabilities", *COMMANDS]
    for name in listed:
        if name != "quit":
            assert "not been found" not in str(client.ask(name))


def test_balloon(client: Client) -> None:
    client.get("balloon", value=48 * MIB)
    assert client.get("query-balloon") == {"actual": 64 * MIB}
    client.wait(2 * 10**9)
    assert client.get("query-balloon") == {"actual": 48 * MIB}
    assert client.machine.vm.resident < 48 * MIB
    first, last = client.happened()
    assert first["event"] == last["event"] == "BALLOON_CHANGE"
    assert (first["data"]["actual"], last["data"]["actual"]) == (63 * MIB, 48 * MIB)
    # The moment in which the guest has booted, and so can take the device's interrupt.
    assert first["timestamp"]["seconds"] == EPOCH // 10**9 and first["timestamp"]["microseconds"] < 10


def test_a_vm_without_a_balloon() -> None:
    client = Client(one_vm(balloon=False)).negotiate()
    nothing = ("DeviceNotActive", "No balloon device has been activated")
    assert client.error("balloon", value=0) == client.error("query-balloon") == nothing
    assert client.error("balloon", value="x")[1].startswith("Invalid parameter type")
    assert client.error("qom-list", path=BALLOON) == ("DeviceNotFound", f"Device '{BALLOON}' not found")
    assert client.get("qom-list", path="/machine/peripheral") == [{"name": "type", "type": "string"}]
    client.get("system_reset")
    client.wait(10**9)
    assert [event["event"] for event in client.happened()] == ["RESET"]


def test_objects(client: Client) -> None:
    properties = {"type": "string", INTERVAL: "int", "guest-stats": "guest statistics"}
    listed = [{"name": name, "type": type} for name, type in properties.items()]
    for path in (BALLOON, "balloon0", "peripheral/balloon0", "//machine///peripheral/balloon0/"):
        assert client.get("qom-list", path=path) == listed
    assert client.get("qom-list", path="/")[1] == {"name": "machine", "type": "child<vmem-machine>"}
    assert client.get("qom-get", path="balloon0", property="type") == "virtio-balloon-pci"
    for path in ("", "/balloon0", "balloon", "/machine/peripheral/balloon0/x"):
        assert client.error("qom-list", path=path) == ("DeviceNotFound", f"Device '{path}' not found")
    assert client.error("qom-get", path="/", property="x")[1] == "Property 'container.x' not found"
    assert client.error("qom-set", path="/", property="type", value=1)[1].endswith("is not writable")
    assert client.error("qom-set", path="/", property="type")[1] == "Parameter 'value' is missing"
    assert client.error("qom-get", path=1)[1] == "Invalid parameter type for 'path', expected: string"


def test_statistics_are_polled_in_simulated_time(client: Client) -> None:
    client.get("qom-set", path=BALLOON, property=INTERVAL, value=2)
    assert client.get("qom-get", path=BALLOON, property=INTERVAL) == 2
    client.wait(5 * 10**9)
    told = client.get("qom-get", path=BALLOON, property="guest-stats")
    assert told["last-update"] == EPOCH // 10**9 + 4
    assert told["stats"]["stat-total-memory"] == client.machine.vm.guest.meminfo()["MemTotal"]
    client.get("stop")
    client.wait(5 * 10**9)
    assert client.get("qom-get", path=BALLOON, property="guest-stats") == told
    for value, why in [(-1, "timer value must be greater than zero"), (2**32, "timer value is too big")]:
        assert client.error("qom-set", path=BALLOON, property=INTERVAL, value=value)[1] == why
    for value in (1.0, "1", True, None, [], {}, 2**63):
        assert client.error("qom-set", path=BALLOON, property=INTERVAL, value=value)[1] == (
            f"Invalid parameter type for '{INTERVAL}', expected: integer"
        )


def test_nothing_is_done_after_quit(client: Client) -> None:
    replies = client.send('{"execute": "quit"} {"execute": "stop"} nonsense {"execute": "query-name"}')
    assert replies == [b'{"return": {}}\r\n']
    assert [event["event"] for event in client.happened()] == ["SHUTDOWN"]
    assert client.happened()[0]["data"] == {"guest": False, "reason": "host-qmp-quit"}
    assert client.machine.ended


def test_every_client_is_told(client: Client) -> None:
    other, deaf = Client(client.simulation).negotiate(), Client(client.simulation)
    other.get("stop")
    client.get("cont")
    assert client.events == other.events
    assert [event["event"] for event in client.happened()] == ["STOP", "RESUME"]
    assert deaf.events == []


SCALARS = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=8)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "value": ANYTHING | st.integers(1, 128 * MIB),
        "path": st.sampled_from([BALLOON, "balloon0", "/", "/machine", "x"]) | ANYTHING,
        "property": st.sampled_from([INTERVAL, "guest-stats", "type", "x"]) | ANYTHING,
        "enable": st.lists(st.sampled_from(["oob", "x"])) | ANYTHING,
        "extra": ANYTHING,
    },
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "execute": st.sampled_from(["qmp_capabilities", *(name for name in COMMANDS if name != "quit")])
        | ANYTHING,
        "exec-oob": st.sampled_from(["balloon", "x"]),
        "arguments": ARGUMENTS | ANYTHING,
        "id": ANYTHING,
        "extra": ANYTHING,
    },
)


@settings(max_examples=60)
@given(st.lists(REQUESTS | ANYTHING | st.binary(max_size=12), max_size=12), st.booleans())
def test_whatever_a_client_sends(requests: list[Any], negotiated: bool) -> None:
    """One reply to each request, with its id, and with a result or an error; and the host stays sound."""
    client = Client(one_vm(memory="8MiB"))
    if negotiated:
        client.negotiate("oob")
    for request in requests:
        if isinstance(request, bytes):
            client.send(request + b"\xff\n")
            continue
        replies = client.send(json.dumps(request) + "\n")
        assert len(replies) == 1
        assert replies[0].isascii() and replies[0].endswith(b"\r\n")
        has_id = isinstance(request, dict) and "id" in request
        assert (b'"id": ' in replies[0]) >= has_id
        assert replies[0].startswith((b'{"return": ', b'{"error": ', b'{"id": '))
        client.wait(10**7)
    client.wait(2 * 10**9)
    client.simulation.host.check()
    if client.session._enabled is not None:
        assert client.get("query-status")["status"] in ("running", "paused", "prelaunch")
