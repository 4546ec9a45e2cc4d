"""What a header of the C interface declares, with what its comments say.

The headers are the documentation; nothing of it is written a second time. A comment belongs to the
declarations that follow it up to the next empty line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

INCLUDE = Path(__file__).parents[2] / "csrc" / "include" / "vmem"
_COMMENT = re.compile(r"/\*(.*?)\*/", re.DOTALL)
_CODE_NAME = re.compile(r"(?<![\w`])(vmem_\w+(?:\(\))?|VMEM_\w+)(?![\w`])")


class Entry(NamedTuple):
    """Declarations and the comment over them; a comment alone has no declarations."""

    comment: str
    code: list[str]


def entries(text: str) -> Iterator[Entry]:
    """The header's parts in order; what only a preprocessor or C++ needs is left out."""
    text = re.sub(r"#if(n?def| defined).*?\n|#endif.*?\n|#else.*?\n|#include.*?\n", "\n", text)
    text = re.sub(r'extern "C" \{\n|^\}\n|^#define (VMEM_API|VMEM_\w+_H).*\n', "\n", text, flags=re.MULTILINE)
    for block in re.split(r"\n{2,}", text):
        comment, code = "", ""
        for line in block.strip().splitlines(keepends=True):
            starts = line.startswith("/*")
            if starts and code:
                yield Entry(_prose(comment), _declarations(code))
                comment, code = "", ""
            if starts or (comment and not code and "*/" not in comment):
                comment += line
            else:
                code += line
        if comment or code:
            yield Entry(_prose(comment), _declarations(code))


def _prose(comment: str) -> str:
    """The comment without its stars, names as code."""
    found = _COMMENT.search(comment)
    lines = found.group(1).splitlines() if found else []
    text = "\n".join(re.sub(r"^\s*\*\s?", "", line).strip() for line in lines).strip()
    return _CODE_NAME.sub(r"`\1`", text).replace("<", "\\<").replace("*", "\\*")


def _declarations(code: str) -> list[str]:
    """Functions one by one; a structure or an enumeration whole."""
    code = code.strip().replace("VMEM_API ", "")
    if not code or code.startswith(("typedef struct", "enum", "#define")) or "{" in code:
        return [code] if code else []
    return [" ".join(part.split()) + ";" for part in code.split(";") if part.strip()]


def name_of(declaration: str) -> tuple[str, str] | None:
    """The kind of a declaration in Sphinx's C domain, and what to call it."""
    for kind, pattern in (
        ("function", r"^([\w \*]+\bvmem_\w+\(.*\));$"),
        ("type", r"^(typedef [^{;]+);$"),
        ("struct", r"^typedef struct (vmem_\w+) \{"),
    ):
        if found := re.match(pattern, declaration, re.DOTALL):
            return kind, found.group(1)
    return None
