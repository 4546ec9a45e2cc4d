"""Pages are written for a code host, too: links out of docs/ to a page of the site lead to that page."""

from __future__ import annotations

import re

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

_CHANGELOG = re.compile(r"\]\((?:\.\./)+CHANGELOG\.md\)")


def lead_to_pages(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = _CHANGELOG.sub("](/changelog.md)", source[0])


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect("source-read", lead_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
