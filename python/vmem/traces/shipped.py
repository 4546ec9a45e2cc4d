"""The traces that come with vmem. bench/record_traces.py made them."""

from __future__ import annotations

from pathlib import Path

_DIRECTORY = Path(__file__).parent.parent / "data" / "traces"


def shipped() -> dict[str, Path]:
    """Name → file of every trace in the package, by name."""
    return {path.stem: path for path in sorted(_DIRECTORY.glob("*.vmt"))}
