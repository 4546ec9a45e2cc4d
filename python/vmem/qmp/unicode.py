"""Modified UTF-8: UTF-8 in which U+0000 is the two bytes C0 80, as QMP's strings are sent."""

from __future__ import annotations

import re

_NONCHARACTERS = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
_SEQUENCE = re.compile(
    rb"[\x00-\x7f]|[\xc0-\xdf][\x80-\xbf]?|[\xe0-\xef][\x80-\xbf]{0,2}|[\xf0-\xf7][\x80-\xbf]{0,3}"
    rb"|[\xf8-\xfb][\x80-\xbf]{0,4}|[\xfc-\xfd][\x80-\xbf]{0,5}|[\x80-\xbf\xfe\xff]"
)
"""A character, or what is replaced as one if it is none."""


def is_character(code: int) -> bool:
    """Whether a string may have it: in Unicode, no surrogate, none of the 66 noncharacters."""
    return (
        0 <= code <= 0x10FFFF
        and not 0xD800 <= code <= 0xDFFF
        and not 0xFDD0 <= code <= 0xFDEF
        and code & 0xFFFE != 0xFFFE
    )


def decode(data: bytes) -> str | None:
    """The text; None if it is none."""
    try:
        text = data.replace(b"\xc0\x80", b"\0").decode()
    except UnicodeDecodeError:
        return None
    return None if _NONCHARACTERS.search(text) else text


def decode_any(data: bytes) -> str:
    """The text, with U+FFFD for every sequence that is none."""
    if (text := decode(data)) is not None:
        return text
    return "".join(
        "\ufffd" if (character := decode(sequence)) is None else character
        for sequence in _SEQUENCE.findall(data)
    )
