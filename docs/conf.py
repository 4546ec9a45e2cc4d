"""The documentation site: `sphinx-build -W docs build/site`. _toc.yml has the order of its pages."""

from __future__ import annotations

import sys
from pathlib import Path

import vmem

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "vmem"
author = "The vmem developers"
release = version = vmem.__version__

extensions = [
    "myst_parser",
    "sphinx_external_toc",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "c_headers",
    "page_links",
]
# Where `[text](page.md#heading)` leads must be the same here and on a code host.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
external_toc_path = "_toc.yml"
exclude_patterns = ["_ext"]
nitpicky = False
intersphinx_mapping: dict[str, tuple[str, None]] = {}

# A single back-quote in docstrings is a name in code.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "undoc-members": True, "inherited-members": False}
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"vmem {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"top_of_page_buttons": []}
html_copy_source = False
pygments_style = "friendly"
