"""What a stream of bytes says: good messages, QEMU's words for bad ones, and the way back to sanity."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmem.qmp.encode import encode
from vmem.qmp.errors import QmpError
from vmem.qmp.limits import MESSAGE_BYTES, NESTING
from vmem.qmp.messages import Messages
from vmem.qmp.order import ordered


def read(*pieces: bytes | str) -> list[Any]:
    """Messages; of errors their text in <>."""
    messages = Messages()
    found: list[Any] = []
    for piece in pieces:
        found += messages.feed(piece.encode() if isinstance(piece, str) else piece)
    return [f"<{one.desc}>" if isinstance(one, QmpError) else one for one in found]


def bad(why: str) -> str:
    return f"<JSON parse error, {why}>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": [1, -2, 3.5, "x", true, false, null]}', [{"a": [1, -2, 3.5, "x", True, False, None]}]),
        ("{'a': 'it\"s'}", [{"a": 'it"s'}]),
        ('{"a":1} {"a":2}\n\n[]', [{"a": 1}, {"a": 2}, []]),
        ("{}{}", [{}, {}]),
        ("17\n", [17]),
        ("0 -0 1e3 0.5E-1 ", [0, 0, 1000.0, 0.05]),
        ('"a"', ["a"]),
        (r'"\"\'\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000"', ["\"'\\/\b\f\n\r\t\u00e9\U0001f600\0"]),
        ("9223372036854775808 -9223372036854775808 ", [2**63, -(2**63)]),
        ("18446744073709551616 -9223372036854775809 ", [float(2**64), -float(2**63)]),
        ("9" * 5000 + " ", [math.inf]),
    ],
)
def test_good_messages(text: str, expected: list[Any]) -> None:
    found = read(text)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"execute": query-balloon}', [bad("stray '-b'"), bad("expecting value")]),
        ('{"execute": "query-balloon",}', [bad("expecting value")]),
        ("}", [bad("expecting value")]),
        ('{"a":1}}', [{"a": 1}, bad("expecting value")]),
        ('{"id":1,"id":2}', [bad("duplicate key")]),
        (r'{"id": "\ud800"}', [bad(r"\ud800 is not a valid Unicode character")]),
        (r'{"id": "\ud800\u0041"}', [bad(r"\ud800 is not a valid Unicode character")]),
        (r'"\ud83f\udffe"', [bad(r"\ud83f\udffe is not a valid Unicode character")]),
        (r'"\u12"', [bad(r'\u12" is not a valid Unicode character')]),
        (r'"\q"', [bad("invalid escape sequence in string")]),
        (b'"\xff"', [bad("stray '\"\ufffd'"), bad("stray '\ufffd'")][:1]),
        (b'"\xed\xa0\x80"', [bad("invalid UTF-8 sequence in string")]),
        (b'"\xef\xbf\xbf"', [bad("invalid UTF-8 sequence in string")]),
        ("nil ", [bad("invalid keyword 'nil'")]),
        ("{1: 2}", [bad("key is not a string in object")]),
        ("{[1]: 2}", [bad("key is not a string in object")]),
        ("{[1,]: 2}", [bad("expecting value")]),
        ('{"a" 1}', [bad("missing : in object pair")]),
        ('{"a": 1 "b": 2}', [bad("expected separator in dict")]),
        ("[1 2]", [bad("expected separator in list")]),
        ("[}", [bad("expecting value")]),
        ('{"a":1]', [bad("expected separator in dict")]),
        (":\n,", [bad("expecting value"), bad("expecting value")]),
        ("01 ", [bad("stray '01'")]),
        ("1.\n", [bad("stray '1.\n'")]),
        ("\0", [bad("stray ''")]),
        ("A lot of text {", [bad("stray 'A'")]),
    ],
)
def test_bad_messages(text: bytes | str, expected: list[Any]) -> None:
    """Each followed by a good one, which is found again on the next line."""
    line = (text.encode() if isinstance(text, str) else text) + b"\n"
    found = read(line, b'\xff\n{"good": 1}')
    assert found[: len(expected)] == expected
    assert found[-1] == {"good": 1}


def test_a_message_may_come_in_pieces() -> None:
    assert read('{"execute": "query-balloon"', "}") == [{"execute": "query-balloon"}]
    assert read(*'{"a": [1.5e3, "\\u0041"]}') == [{"a": [1500.0, "A"]}]


def test_deep_and_large_messages() -> None:
    deep = read("[" * NESTING + "]" * NESTING, "[" * (NESTING + 1))
    assert len(deep) == 2 and deep[1] == "<JSON nesting depth limit exceeded>"
    assert encode(deep[0]) == b"[" * NESTING + b"]" * NESTING + b"\r\n"
    large = "x" * (MESSAGE_BYTES - 2)
    assert read(f'"{large}"') == [large]
    assert read(f'"{large}x"\n')[0] == "<JSON token size limit exceeded>"
    assert read("[" + "1," * MESSAGE_BYTES)[0] == "<JSON token size limit exceeded>"


def test_what_is_held_of_an_endless_message_is_bounded() -> None:
    messages = Messages()
    for piece in (
        b'"' + b"x" * 50_000,
        b"1" * 50_000,
        b"[[[,,,:::" * 9_000,
        b" " * 500_000,
        b"'" + b"y" * 90_000,
    ):
        list(messages.feed(piece))
        assert len(messages._tokens) <= MESSAGE_BYTES
        assert len(messages._lexer._token) <= MESSAGE_BYTES


def plain(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


TEXT = st.text(st.characters(exclude_categories=["Cs"]).filter(lambda c: ord(c) & 0xFFFE != 0xFFFE)).filter(
    lambda text: not any(0xFDD0 <= ord(c) <= 0xFDEF for c in text)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_values_come_back(value: Any, ascii: bool) -> None:
    """What any JSON writer writes is read; and the other way round, as far as JSON has such values."""
    text = json.dumps({"v": value}, ensure_ascii=ascii).replace("Infinity", "1e999")
    assert read(text) == [{"v": value}]
    written = encode({"v": value})
    assert written.isascii() and written.endswith(b"\r\n") and b"\n" not in written[:-1]
    if b"inf" not in written.lower():
        assert json.loads(written) == {"v": value}
        assert read(written) == [{"v": value}]


PIECES = st.lists(
    st.binary(max_size=20)
    | st.sampled_from([bytes([byte]) for byte in b"{}[]:,\"'\\-e\n\xff"])
    | st.sampled_from([b'{"a":', b"null", b"1.", b"\\u", b"\xc0\x80", b"\xf0\x9f\x98\x80", b'"execute"']),
    max_size=40,
)


@given(PIECES, st.randoms())
def test_garbage(pieces: list[bytes], random: Any) -> None:
    """Never anything but values and errors; the same however it is cut; and FF brings back sanity."""
    data = b"".join(pieces) + b'\xff\n{"good": [1]}'
    whole = read(data)
    assert whole[-1] == {"good": [1]}
    cuts = sorted(random.randrange(len(data)) for _ in range(5))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert repr(read(*parts)) == repr(whole)
    for message in whole:
        assert encode(message).isascii()


def test_order_of_keys() -> None:
    """A hash table's: bucket by bucket, and the newest of a bucket first."""
    version = {"major": 7, "minor": 2, "micro": 22}
    assert [key for key, _ in ordered(version)] == ["micro", "minor", "major"]
    assert [key for key, _ in ordered({"id": 1, "return": 2})] == ["return", "id"]
    assert [key for key, _ in ordered({"error": 1, "id": 2})] == ["id", "error"]
