"""What a run is made of: the version of vmem, the scenario's text, and the files that it names."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

from vmem import __version__
from vmem.policies.own import file_of, is_own
from vmem.sweep.grid import Base, Settings


class Sources:
    """Digests of what runs of one scenario are made of. Each file is read once.

    A string anywhere in the scenario or the settings that is the name of a file counts as one: a trace, a
    curve, a fleet's data, a policy's code. What such a file reads itself does not.
    """

    def __init__(self, base: Base) -> None:
        self._directory = Path(base.directory)
        self._files: dict[Path, str] = {}
        self._scenario = [__version__, base.text, *self._contents(tomllib.loads(base.text))]

    def digest(self, settings: Settings) -> str:
        """Of a run with these settings: another one as soon as anything has changed."""
        parts = [*self._scenario, *self._contents(settings)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def _contents(self, value: object) -> list[str]:
        return [part for text in _strings(value) for part in self._content(text)]

    def _content(self, text: str) -> list[str]:
        path = self._directory / (file_of(text) if is_own(text) else text)
        try:
            if not path.is_file():
                return []
            if path not in self._files:
                with path.open("rb") as file:
                    self._files[path] = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError):  # no name of a file, or none that can be read
            return []
        return [text, self._files[path]]


def _strings(value: object) -> Iterator[str]:
    """All that are in a document's value, in their order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
