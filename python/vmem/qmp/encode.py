"""Values as JSON text, as QEMU writes them: ASCII, `": "` and `", "`, floats with 17 digits."""

from __future__ import annotations

import re

from vmem.qmp.order import ordered
from vmem.qmp.values import Value

_ESCAPED = re.compile(r'[^ -~]|["\\]')
_SHORT = {'"': r"\"", "\\": r"\\", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


class _Text(str):
    """What is written as it is."""

    __slots__ = ()


def encode(value: Value) -> bytes:
    """One line, and its end. Without recursion: a client's id may be as deep as a message."""
    written: list[str] = []
    pending: list[Value | _Text] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, _Text):
            written.append(item)
        elif isinstance(item, dict):
            pending += reversed(_object(item))
        elif isinstance(item, list):
            pending += reversed(_array(item))
        else:
            written.append(_scalar(item))
    return "".join(written).encode() + b"\r\n"


def _object(table: dict[str, Value]) -> list[Value | _Text]:
    parts: list[Value | _Text] = [_Text("{")]
    for key, value in ordered(table):
        parts += [_Text(f"{', ' if len(parts) > 1 else ''}{_quoted(key)}: "), value]
    return [*parts, _Text("}")]


def _array(values: list[Value]) -> list[Value | _Text]:
    parts: list[Value | _Text] = [_Text("[")]
    for value in values:
        parts += [_Text(", "), value] if len(parts) > 1 else [value]
    return [*parts, _Text("]")]


def _scalar(value: float | str | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.17g}"
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(text: str) -> str:
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    if match[0] in _SHORT:
        return _SHORT[match[0]]
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[i]:02X}{units[i + 1]:02X}" for i in range(0, len(units), 2))
