"""HTML documents that load nothing: templates, their style, and charts in them."""

from __future__ import annotations

from importlib.resources import files
from string import Template

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    # What is left fits beside a chart of two bars, and sends nothing to anybody.
    "modeBarButtonsToRemove": [
        "select2d",
        "lasso2d",
        "zoomIn2d",
        "zoomOut2d",
        "autoScale2d",
        "sendChartToCloud",
        "sendDataToCloud",
    ],
    "plotlyServerURL": "",
}


def _text(name: str) -> str:
    return files("vmem.report").joinpath(name).read_text(encoding="utf-8")


def fill(template: str, /, **values: str) -> str:
    """A template of this package with its places filled."""
    return Template(_text(template)).substitute(values)


def document(template: str, /, **values: str) -> str:
    """The same for a whole document, which brings the common style and the charts' library."""
    return fill(template, style=_text("style.css"), plotly=get_plotlyjs(), **values)


def chart(figure: go.Figure, name: str) -> str:
    """A figure as a part of a document."""
    html = plotly.io.to_html(
        figure,
        config=_CONFIG,
        include_plotlyjs=False,
        full_html=False,
        div_id=f"chart-{name}",
        default_height=f"{figure.layout.height}px",
    )
    return f'<div class="wide"><div class="chart">{html}</div></div>'
