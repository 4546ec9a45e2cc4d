"""Finished runs of a sweep, kept as they come: an interrupted sweep goes on from there."""

from __future__ import annotations

from pathlib import Path

import msgspec

from vmem.errors import ConfigError
from vmem.sweep.grid import Base, Settings
from vmem.sweep.point import Outcome
from vmem.sweep.sources import Sources


class Journal:
    """A file of one line for each finished run.

    Those that were made of another scenario, other files named in it, or by another version are not reused.
    """

    def __init__(self, path: Path, base: Base) -> None:
        self._path = path
        self._sources = Sources(base)
        self._done = self._read()

    def _read(self) -> dict[bytes, Outcome]:
        if not self._path.exists():
            return {}
        done: dict[bytes, Outcome] = {}
        for line in self._path.read_bytes().splitlines():
            try:
                entry = msgspec.json.decode(line)
                outcome = msgspec.convert(entry["outcome"], Outcome)
                if entry["sources"] == self._sources.digest(outcome.settings):
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
        line = msgspec.json.encode({"sources": self._sources.digest(outcome.settings), "outcome": outcome})
        try:
            with self._path.open("ab") as file:
                file.write(line + b"\n")
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from None


def _key(settings: Settings) -> bytes:
    return msgspec.json.encode(settings, order="deterministic")
