"""Writes what the examples of pages print now into the pages: `python tests/python/docs/blocks.py PAGE…`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def write_anew(pages: list[str]) -> None:
    from pages.sessions import rewrite

    for page in pages:
        with tempfile.TemporaryDirectory() as scratch:
            rewrite(Path(page).resolve(), Path(scratch))


if __name__ == "__main__":
    write_anew(sys.argv[1:])
