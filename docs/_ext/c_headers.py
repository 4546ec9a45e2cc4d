"""`{c-header} host.h`: everything that a header of the C interface declares, as a directive of Sphinx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from c_declarations import INCLUDE, entries, name_of
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata


class CHeader(SphinxDirective):
    """The directive. Its argument is a file of csrc/include/vmem."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = INCLUDE / self.arguments[0]
        self.env.note_dependency(str(path))
        return self.parse_text_to_nodes("\n".join(self._lines(path)), allow_section_headings=False)

    def _lines(self, path: Path) -> Iterator[str]:
        for entry in entries(path.read_text(encoding="utf-8")):
            named = [found for code in entry.code if (found := name_of(code))]
            if not named:
                yield f"\n{entry.comment}\n"
            for position, (kind, signature) in enumerate(named):
                yield f"\n::::{{c:{kind}}} {signature.removeprefix('typedef ')}\n"
                yield f"{entry.comment if position == 0 else ''}\n::::\n"
            for code in entry.code:
                if "{" in code or code.startswith("#define"):
                    yield f"\n:::{{code-block}} c\n{code}\n:::\n"


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_directive("c-header", CHeader)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
