"""Tokens to messages: where one ends, and how large it may be."""

from __future__ import annotations

from collections.abc import Iterator

from vmem.qmp.errors import QmpError
from vmem.qmp.lexer import Lexer, Token
from vmem.qmp.limits import MESSAGE_BYTES, NESTING
from vmem.qmp.parser import parse
from vmem.qmp.unicode import decode_any
from vmem.qmp.values import Value


class Messages:
    """The messages of a stream, good and bad ones in their order.

    A message ends where its brackets close, lines or not. After a bad one the next token begins another.
    """

    def __init__(self) -> None:
        self._lexer = Lexer()
        self._tokens: list[Token] = []
        self._bytes = self._braces = self._brackets = 0

    def feed(self, data: bytes) -> Iterator[Value | QmpError]:
        """What these bytes complete."""
        for token in self._lexer.feed(data):
            error = self._refuse(token)
            if error is not None:
                self._begin()
                yield error
                continue
            self._tokens.append(token)
            self._bytes += len(token.text)
            if self._is_complete():
                tokens = self._begin()
                try:
                    yield parse(tokens)
                except QmpError as bad:
                    yield bad

    def _refuse(self, token: Token) -> QmpError | None:
        """Counts the token; an error if the message must not have it."""
        self._braces += {"{": 1, "}": -1}.get(token.kind, 0)
        self._brackets += {"[": 1, "]": -1}.get(token.kind, 0)
        if token.kind == "stray":
            text = decode_any(token.text.rstrip(b"\0"))  # to QEMU a zero byte is the end of a string
            return QmpError(f"JSON parse error, stray '{text}'")
        if token.kind == "overlong" or self._bytes + len(token.text) > MESSAGE_BYTES:
            return QmpError("JSON token size limit exceeded")
        if self._braces + self._brackets > NESTING:
            return QmpError("JSON nesting depth limit exceeded")
        return None

    def _is_complete(self) -> bool:
        least, most = sorted((self._braces, self._brackets))
        return least < 0 or most == 0

    def _begin(self) -> list[Token]:
        """Another message; returns the tokens of the one before."""
        tokens, self._tokens = self._tokens, []
        self._bytes = self._braces = self._brackets = 0
        return tokens
