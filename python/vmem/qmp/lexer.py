"""Bytes to tokens, however small the pieces. What is no token is skipped until things look sane.

JSON's tokens, and strings in single quotes, as QEMU takes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vmem.qmp.limits import MESSAGE_BYTES


class Token(NamedTuple):
    """A token: itself as `kind` if it is one of {}[],: or else integer, float, string, keyword.

    stray: not the beginning of a token. overlong: of one that has grown too long.
    """

    kind: str
    text: bytes


class _Step(NamedTuple):
    """What a byte does in a state."""

    takes: bool
    """The byte; or else the next state looks at it again."""
    ends: str | None
    """The kind of token that it is the end of."""
    state: str


_Row = list[_Step]
_DIGITS = b"0123456789"
_STRAY = _Step(takes=True, ends="stray", state="recovery")


def _row(otherwise: _Step = _STRAY) -> _Row:
    return [otherwise] * 256


def _go(row: _Row, on: bytes | range, state: str, ends: str | None = None) -> None:
    for byte in on:
        row[byte] = _Step(takes=True, ends=ends, state=state)


def _ended(kind: str) -> _Step:
    """The byte before was the token's last one."""
    return _Step(takes=False, ends=kind, state="start")


def _strings(table: dict[str, _Row], quote: bytes, name: str) -> None:
    table[name], table[f"{name} escape"] = _row(), _row()
    _go(table[name], range(0x20, 0xFE), name)
    _go(table[name], b"\\", f"{name} escape")
    _go(table[name], quote, "start", "string")
    _go(table[f"{name} escape"], range(0x20, 0xFE), name)
    _go(table["start"], quote, name)


def _numbers(table: dict[str, _Row]) -> None:
    """zero and digits are integers, fraction digits and exponent digits are floats; the others are no end."""
    for name, kind in (("zero", "integer"), ("digits", "integer"), ("fraction", "float"), ("power", "float")):
        table[name] = _row(_ended(kind))
    for name in ("sign", "point", "exponent", "exponent sign"):
        table[name] = _row()
    for name in ("start", "sign"):
        _go(table[name], b"0", "zero")
        _go(table[name], b"123456789", "digits")
    _go(table["start"], b"-", "sign")
    for byte in _DIGITS:
        table["zero"][byte] = _STRAY
    for name in ("zero", "digits"):
        _go(table[name], b".", "point")
    for name in ("digits", "fraction"):
        _go(table[name], b"eE", "exponent")
    for name, then in (
        ("digits", "digits"), ("point", "fraction"), ("fraction", "fraction"),
        ("exponent", "power"), ("exponent sign", "power"), ("power", "power"),
    ):  # fmt: skip
        _go(table[name], _DIGITS, then)
    _go(table["exponent"], b"+-", "exponent sign")


def _recovery() -> _Row:
    """Skips to where a message may begin: brackets and the like, ends of lines, bytes that no text has."""
    row = _row(_Step(takes=True, ends=None, state="recovery"))
    for byte in (*range(0x20), 0xFE, 0xFF, *b"[]{}:,"):
        row[byte] = _Step(takes=False, ends=None, state="start")
    _go(row, b"\t", "recovery")
    return row


def _table() -> dict[str, _Row]:
    table = {"start": _row(), "recovery": _recovery(), "keyword": _row(_ended("keyword"))}
    _go(table["start"], b" \t\r\n", "start")
    for byte in b"{}[],:":
        _go(table["start"], bytes([byte]), "start", chr(byte))
    letters = range(ord("a"), ord("z") + 1)
    _go(table["start"], letters, "keyword")
    _go(table["keyword"], letters, "keyword")
    _strings(table, b'"', "string")
    _strings(table, b"'", "quoted")
    _numbers(table)
    return table


_TABLE = _table()


class Lexer:
    """The tokens of a stream. Holds no more than one token's bytes."""

    def __init__(self) -> None:
        self._state = "start"
        self._token = bytearray()

    def feed(self, data: bytes) -> Iterator[Token]:
        """The tokens that end in these bytes."""
        token = self._token
        for byte in data:
            taken = False
            while not taken:
                taken, ends, self._state = _TABLE[self._state][byte]
                if taken:
                    token.append(byte)
                if ends is not None:
                    yield Token(ends, bytes(token))
                    token.clear()
                elif self._state in ("start", "recovery"):
                    token.clear()
            if len(token) > MESSAGE_BYTES:
                yield Token("overlong", bytes(token))
                token.clear()
                self._state = "start"
