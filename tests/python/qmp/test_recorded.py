"""The conversations of a real QEMU, held again with vmem. recorded/README.md says where they are from.

Replies must be the same text: structure, keys and their order, spaces, errors. Numbers that depend on how
fast a guest is are compared by what they mean.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from vmem import __version__
from vmem.qmp.simulation import Simulation

from .clients import MIB, Client, one_vm

HERE = Path(__file__).parent / "recorded"
RAM = 1024 * MIB
SECOND = 10**9
DEBIAN = "Debian 1:7.2+dfsg-7+deb12u18+b3"

ACTUAL = re.compile(r'"actual": (\d+)')

Line = dict[str, Any]


def recorded(name: str) -> list[Line]:
    return [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text().splitlines()]


class Replay:
    """Says what the clients said, when they said it, and compares the answers.

    `aside` are things to do between, by their time: what happened to the guest.
    """

    def __init__(self, name: str, aside: dict[float, Callable[[Simulation], object]] | None = None) -> None:
        self.simulation = one_vm(memory="1GiB")
        self.balloon = self.simulation.machines[0].balloon
        self.balloon.polling_interval = 1
        self.lines = recorded(name)
        self.clients = {line["client"]: Client(self.simulation) for line in self.lines}
        self.target = RAM
        self.compared = 0
        self._seen = (RAM, RAM)
        """What their guest, and ours, last said to keep."""
        self._pending: dict[int, list[bytes]] = {number: [] for number in self.clients}
        self._asked: dict[int, Any] = {}
        self._aside = sorted((aside or {}).items())

    def run(self) -> Replay:
        greeted: set[int] = set()
        for line in self.lines:
            self._until(line["t"])
            number = line["client"]
            if "send" in line:
                self._send(number, line["send"])
            elif "reply" in line:
                if number not in greeted:
                    greeted.add(number)
                    self._pending[number].append(self.clients[number].session.greeting())
                self._compare(line["reply"], self._pending[number].pop(0).decode(), self._asked.get(number))
                self.compared += 1
        assert all(left == [] for left in self._pending.values())
        return self

    def _until(self, seconds: float) -> None:
        while self._aside and self._aside[0][0] <= seconds:
            at, act = self._aside.pop(0)
            self._wait(at)
            act(self.simulation)
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        left = round(seconds * SECOND) - self.simulation.host.now
        if left > 0:
            next(iter(self.clients.values())).wait(left)

    def _send(self, number: int, text: str) -> None:
        self._pending[number] += self.clients[number].send(text.encode() + b"\n")
        try:
            asked = json.loads(text)
        except ValueError:
            asked = None
        self._asked[number] = asked
        if isinstance(asked, dict) and asked.get("execute") == "balloon":
            value = (
                asked.get("arguments", {}).get("value") if isinstance(asked.get("arguments"), dict) else None
            )
            if type(value) is int and 0 < value < 2**63:
                self.target = min(value, RAM)

    def _compare(self, expected: str, ours: str, asked: Any) -> None:
        assert ours.endswith("\r\n")
        ours = ours.removesuffix("\r\n")
        command = asked.get("execute") if isinstance(asked, dict) else None
        if command == "qom-list":
            self._compare_properties(json.loads(expected)["return"], json.loads(ours)["return"])
        elif command == "query-name" and expected == '{"return": {}}':  # a QEMU that was given no name
            assert ours == '{"return": {"name": "vm"}}'
        elif '"actual"' in expected:
            self._compare_actual(expected, ours)
        elif '"stats"' in expected:
            self._compare_statistics(expected, ours)
        else:
            assert ours.replace(f"vmem {__version__}", DEBIAN) == expected, asked

    def _compare_actual(self, expected: str, ours: str) -> None:
        """A guest may be faster than the recorded one, and never beyond the target.

        If it has a longer way back because it was faster before, it has come at least as far on it.
        """
        (theirs,), (actual,) = (map(int, ACTUAL.findall(text)) for text in (expected, ours))
        assert ours.replace(f'"actual": {actual}', f'"actual": {theirs}') == expected
        (theirs_before, before), self._seen = self._seen, (theirs, actual)
        if not min(theirs, self.target) <= actual <= max(theirs, self.target):
            assert min(before, self.target) <= actual <= max(before, self.target)
            assert abs(actual - before) >= abs(theirs - theirs_before)
        if self.simulation.machines[0].vm.paused:
            assert actual == theirs

    def _compare_statistics(self, expected: str, ours: str) -> None:
        theirs, told = json.loads(expected)["return"], json.loads(ours)["return"]
        assert list(told) == list(theirs) and list(told["stats"]) == list(theirs["stats"])
        stats = told["stats"]
        assert 0 < stats["stat-free-memory"] <= stats["stat-total-memory"] < RAM
        assert stats["stat-available-memory"] <= stats["stat-free-memory"]
        # The driver says what it knows when it begins, and then about once a second.
        assert told["last-update"] <= (self.simulation.epoch + self.simulation.host.now) // SECOND

    def _compare_properties(self, theirs: list[Any], ours: list[Any]) -> None:
        """A part of what a PCI device has, in its order, with its types."""
        assert [entry for entry in theirs if entry in ours] == ours
        assert {"guest-stats", "guest-stats-polling-interval"} <= {entry["name"] for entry in ours}

    def events(self, number: int = 1) -> list[Any]:
        """What a client was told."""
        return self.clients[number].happened()

    def recorded_events(self) -> list[Any]:
        return [json.loads(line["event"]) for line in self.lines if "event" in line and line["client"] == 1]


def shapes(events: list[Any]) -> set[str]:
    """Kinds of events, keys in their order, without the numbers."""

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return 0 if type(value) is int else value

    return {json.dumps(shape(event)) for event in events}


def changes(events: list[Any]) -> list[int]:
    return [event["data"]["actual"] for event in events if event["event"] == "BALLOON_CHANGE"]


def check_rate(client: Client) -> None:
    told = [
        at
        for at, event in zip(client.told_at, client.happened(), strict=True)
        if event["event"] == "BALLOON_CHANGE"
    ]
    assert all(b - a >= SECOND for a, b in pairwise(told))


def test_errors() -> None:
    replay = Replay("errors").run()
    assert replay.compared == 133
    ours, theirs = replay.events(), replay.recorded_events()
    assert shapes(ours) == shapes(theirs)
    others = [
        [event["event"] for event in events if event["event"] != "BALLOON_CHANGE"]
        for events in (ours, theirs)
    ]
    assert others[0] == others[1] == ["STOP", "RESUME", "SHUTDOWN"]
    assert changes(ours)[0] == changes(theirs)[0] == RAM - MIB
    assert changes(ours)[-1] == changes(theirs)[-1] == RAM
    assert changes(ours)[-2] == changes(theirs)[-2] == 768 * MIB + MIB  # the first step back up, told at once
    check_rate(replay.clients[1])


def test_no_driver() -> None:
    """A guest whose driver is not there yet is one that stands still; then it is loaded, unloaded, loaded."""

    def pause(simulation: Simulation) -> None:
        simulation.machines[0].vm.paused = True

    def load_driver(simulation: Simulation) -> None:
        simulation.machines[0].vm.paused = False

    def unload_driver(simulation: Simulation) -> None:
        simulation.machines[0].vm.guest.balloon_driver.unload()

    def load_again(simulation: Simulation) -> None:
        simulation.machines[0].vm.guest.balloon_driver.load()

    asides = {0.0: pause, 13.6: load_driver, 19.82: unload_driver, 22.94: load_again}
    replay = Replay("no_driver", asides).run()
    ours, theirs = changes(replay.events()), changes(replay.recorded_events())
    assert ours == [RAM - MIB, 512 * MIB, RAM, RAM - MIB, 512 * MIB]
    # The recorded guest took longer, and was seen on the way.
    assert [actual for actual in theirs if actual in ours] == ours
    assert shapes(replay.events()) == shapes(replay.recorded_events())
    check_rate(replay.clients[1])


def test_reboot() -> None:
    """The recorded guest rebooted itself; here it is reset. The target stays, `actual` does so at first."""
    before: dict[str, int] = {}

    def reset(simulation: Simulation) -> None:
        before["total"] = simulation.machines[0].balloon.stats["stat-total-memory"]
        second = Client(simulation).negotiate()
        assert second.ask("system_reset") == {"return": {}}
        assert second.get("query-balloon") == {"actual": 512 * MIB}  # no driver has said anything yet

    replay = Replay("reboot", {13.22: reset})
    replay.run()
    ours, theirs = replay.events(), replay.recorded_events()
    once = [RAM - MIB, 512 * MIB]
    assert changes(ours) == once + once
    assert [actual for actual in changes(theirs) if actual in once] == once + once
    (told,) = [event for event in ours if event["event"] == "RESET"]
    assert told["data"] == {"guest": False, "reason": "host-qmp-system-reset"}
    guest = json.dumps(told).replace("false", "true").replace("host-qmp-system-reset", "guest-reset")
    assert shapes([json.loads(guest)]) <= shapes(theirs)
    check_rate(replay.clients[1])
    # MemTotal is page-exact: it has come down by what is in the balloon, in both.
    assert before["total"] == replay.simulation.machines[0].vm.guest.meminfo()["MemTotal"]


@pytest.mark.parametrize("name", ["errors", "no_driver", "reboot"])
def test_the_data_are_what_was_recorded(name: str) -> None:
    """Against the original recordings, where they are."""
    originals = {"errors": "E1_errors_driver_loaded", "no_driver": "E2_no_driver_loaded",
                 "reboot": "E4_guest_reboot_ballooned"}  # fmt: skip
    root = Path(__file__).parents[3]
    path = root.parent / "shared" / "recordings" / f"{originals[name]}.qmp.jsonl.gz"
    if not path.exists():
        pytest.skip("no recordings here")
    said = set()
    for line in gzip.decompress(path.read_bytes()).splitlines():
        row = json.loads(line)
        said.add(row.get("raw") or json.dumps(row["json"]))
    for line in recorded(name):
        assert (line.get("send") or line.get("reply") or line.get("event")) in said
