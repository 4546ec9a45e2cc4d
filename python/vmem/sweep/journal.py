"""Finished runs of a sweep, kept as they come: an interrupted sweep goes on from there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from vmem import __version__
from vmem.errors import ConfigError
from vmem.sweep.grid import Base, Settings
from vmem.sweep.point import Outcome


class Journal:
    """A file of one line for each finished run. Those of another scenario, or version, are not reused."""

    def __init__(self, path: Path, base: Base) -> None:
        self._path = path
        self._scenario = hashlib.sha256(f"{__version__}\n{base.text}".encode()).hexdigest()[:16]
        self._done = self._read()

    def _read(self) -> dict[bytes, Outcome]:
        if not self._path.exists():
            return {}
        done: dict[bytes, Outcome] = {}
        for line in self._path.read_bytes().splitlines():
            try:
                entry = msgspec.json.decode(line)
                if entry["scenario"] == self._scenario:
                    outcome = msgspec.convert(entry["outcome"], Outcome)
                    done[_key(outcome.settings)] = outcome
            except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError):
                continue  # the line that an interruption cut, or a stranger's
        return done

    def find(self, settings: Settings) -> Outcome | None:
        """The run with these settings, if it has been made."""
        return self._done.get(_key(settings))

    def add(self, outcome: Outcome) -> None:
        """Keeps a run. ConfigError where nothing can be written."""
        self._done[_key(outcome.settings)] = outcome
        line = msgspec.json.encode({"scenario": self._scenario, "outcome": outcome})
        try:
            with self._path.open("ab") as file:
                file.write(line + b"\n")
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from None


def _key(settings: Settings) -> bytes:
    return msgspec.json.encode(settings, order="deterministic")
