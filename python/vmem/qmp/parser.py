"""The tokens of a message to a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vmem.qmp.errors import parse_error
from vmem.qmp.lexer import Token
from vmem.qmp.unicode import decode, decode_any, is_character
from vmem.qmp.values import Value

_KEYWORDS = {b"true": True, b"false": False, b"null": None}
_ESCAPES = {ord(name): meant for name, meant in zip("\"'\\/bfnrt", "\"'\\/\b\f\n\r\t", strict=True)}
_LONGEST_INTEGER = 20
"""Characters of -2**63 and of 2**64 - 1."""
_HEX = frozenset(b"0123456789abcdefABCDEF")

_Place = Literal["value", "first", "key", "colon", "separator"]
"""What comes next in a container; "first": a value or a key, or its end."""


class _Open:
    """A container that has not ended."""

    def __init__(self, into: dict[str, Value] | list[Value]) -> None:
        self.into = into
        self.key = ""
        self.place: _Place = "first"

    @property
    def is_object(self) -> bool:
        return isinstance(self.into, dict)

    def put(self, value: Value) -> None:
        """A value, or a key, is complete."""
        if isinstance(self.into, list):
            self.into.append(value)
        elif self.place in ("first", "key"):
            if not isinstance(value, str):
                raise parse_error("key is not a string in object")
            self.key, self.place = value, "colon"
            return
        else:
            if self.key in self.into:
                raise parse_error("duplicate key")
            self.into[self.key] = value
        self.place = "separator"

    def is_end(self, token: Token) -> bool:
        return self.place in ("first", "separator") and token.kind == ("}" if self.is_object else "]")

    def punctuate(self, token: Token) -> None:
        """Takes a colon or comma, which must come next."""
        if self.place == "colon":
            if token.kind != ":":
                raise parse_error("missing : in object pair")
            self.place = "value"
        else:
            if token.kind != ",":
                raise parse_error(f"expected separator in {'dict' if self.is_object else 'list'}")
            self.place = "key" if self.is_object else "value"


def parse(tokens: Sequence[Token]) -> Value:
    """The value of a message. QmpError with the first thing that is wrong. Without recursion."""
    stack: list[_Open] = []
    for token in tokens:
        top = stack[-1] if stack else None
        if top is not None and top.is_end(token):
            done: Value = stack.pop().into
        elif top is not None and top.place in ("colon", "separator"):
            top.punctuate(token)
            continue
        elif token.kind in ("{", "["):
            stack.append(_Open({} if token.kind == "{" else []))
            continue
        else:
            done = _scalar(token)
        if not stack:
            return done
        stack[-1].put(done)
    raise parse_error("premature EOI")


def _scalar(token: Token) -> Value:
    if token.kind == "string":
        return _string(token.text)
    if token.kind == "integer":
        number = int(token.text) if len(token.text) <= _LONGEST_INTEGER else 2**64
        return number if -(2**63) <= number < 2**64 else float(token.text)
    if token.kind == "float":
        return float(token.text)
    if token.kind == "keyword":
        if token.text not in _KEYWORDS:
            raise parse_error(f"invalid keyword '{token.text.decode()}'")
        return _KEYWORDS[token.text]
    raise parse_error("expecting value")


def _string(token: bytes) -> str:
    parts, at, end = [], 1, len(token) - 1
    while (slash := token.find(b"\\", at, end)) >= 0:
        parts.append(_plain(token[at:slash]))
        text, at = _escape(token, slash)
        parts.append(text)
    return "".join([*parts, _plain(token[at:end])])


def _plain(part: bytes) -> str:
    text = decode(part)
    if text is None:
        raise parse_error("invalid UTF-8 sequence in string")
    return text


def _escape(token: bytes, slash: int) -> tuple[str, int]:
    """What an escape means, and where it ends."""
    letter = token[slash + 1]
    if letter in _ESCAPES:
        return _ESCAPES[letter], slash + 2
    if letter != ord("u"):
        raise parse_error("invalid escape sequence in string")
    end = slash + 6
    code = _hex(token, slash + 2)
    if 0xD800 <= code <= 0xDBFF and token[end : end + 2] == b"\\u":
        low = _hex(token, end + 2)
        if 0xDC00 <= low <= 0xDFFF:
            code, end = 0x10000 + ((code & 0x3FF) << 10 | low & 0x3FF), end + 6
    if not is_character(code):
        raise parse_error(f"{decode_any(token[slash:end])} is not a valid Unicode character")
    return chr(code), end


def _hex(token: bytes, at: int) -> int:
    digits = token[at : at + 4]
    return int(digits, 16) if len(digits) == 4 and _HEX.issuperset(digits) else -1
