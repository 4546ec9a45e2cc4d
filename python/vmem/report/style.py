"""How the charts look: colours that everybody can tell apart, also in grey; fonts; frames."""

from __future__ import annotations

from typing import Any, NamedTuple

import plotly.graph_objects as go

INK, MUTED, RULE = "#1b1f24", "#57606a", "#d8dee4"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

# Okabe and Ito, 2008, and a light grey.
GREY, SKY, BLUE, GREEN = "#d3d7db", "#56b4e9", "#0072b2", "#009e73"
YELLOW, ORANGE, VERMILION, PURPLE, BLACK = "#f0e442", "#e69f00", "#d55e00", "#cc79a7", "#000000"


class Fill(NamedTuple):
    """A bar's colour and hatching. Neighbours in a stack differ in lightness or hatching."""

    colour: str
    pattern: str = ""
    hatching: str = "#ffffff"

    @property
    def marker(self) -> dict[str, Any]:
        return {
            "color": self.colour,
            "line": {"color": "white", "width": 1},
            "pattern": self.hatched,
        }

    @property
    def hatched(self) -> dict[str, Any]:
        """As a bar's pattern, or an area's."""
        return {
            "shape": self.pattern,
            "fillmode": "overlay",
            "fgcolor": self.hatching,
            "size": 7,
            "solidity": 0.2,
        }


class Stroke(NamedTuple):
    """A line's colour, dashes and marks."""

    colour: str
    dash: str
    symbol: str


ENDED = {"L1 hit": Fill(GREY), "L2 hit": Fill(SKY), "walk": Fill(VERMILION, "/")}
TABLES = {"guest's table": Fill(BLUE), "host's table": Fill(ORANGE, "/")}
CAUSES = {
    "access": Fill(GREY),
    "l2_hit": Fill(SKY),
    "walk": Fill(BLUE),
    "assist": Fill(GREEN, "."),
    "guest_fault": Fill(YELLOW, "\\", "#8f8500"),
    "exit": Fill(VERMILION, "|"),
    "host": Fill(PURPLE, "/"),
    "reclaim": Fill(BLACK, "x"),
}
HOLDERS = (
    Fill(SKY),
    Fill(ORANGE, "/"),
    Fill(BLUE),
    Fill(YELLOW, "\\", "#8f8500"),
    Fill(GREEN),
    Fill(PURPLE, "x"),
    Fill(VERMILION, "|"),
)
"""VMs in a stack, over and over."""
PROCESSES, TABLES_HELD, FREE = Fill(GREY, ".", MUTED), Fill(BLACK), Fill("#f3f5f7")
"""Above them."""
TIMES = {
    "running": Fill(GREY),
    "waiting for disk or swap": Fill(VERMILION),
    "no physical CPU": Fill(BLUE, "/"),
}
HEAT = ((0.0, "#f7fbff"), (1.0, "#4292c6"))
"""Of heatmaps: more is darker, and ink can be read on all of it."""
EVENTS = {
    "TLB misses": Stroke(BLUE, "solid", "circle"),
    "guest faults": Stroke(ORANGE, "dash", "square-open"),
    "VM exits": Stroke(BLACK, "dot", "triangle-up"),
}
DECISIONS = {
    "resident": Stroke(SKY, "solid", "circle"),
    "used by the guest": Stroke(VERMILION, "dash", "circle"),
    "target": Stroke(BLACK, "dot", "diamond-open"),
    "actual": Stroke(BLUE, "dashdot", "circle"),
}
MEMORY = {
    "resident": Stroke(BLUE, "solid", "circle"),
    "used by the guest": Stroke(VERMILION, "dash", "circle"),
    "in the balloon": Stroke(GREEN, "longdash", "circle"),
    "in the host's swap": Stroke(BLACK, "dot", "circle"),
    "in the guest's swap": Stroke(PURPLE, "dashdot", "circle"),
}


def frame(figure: go.Figure, height: int, top: int = 72, **layout: Any) -> go.Figure:
    """The look that all charts share. `top` pixels above the plot are for the legend and titles."""
    figure.update_layout(
        template="none",
        height=height,
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        margin={"l": 10, "r": 48, "t": top, "b": 56},
        legend={
            "orientation": "h",
            "traceorder": "normal",
            "x": 0,
            "y": 1,
            "yanchor": "top",
            "yref": "container",
        },
        modebar={"orientation": "v"},
        hoverlabel={"font": {"family": FONT}},
        **layout,
    )
    figure.update_xaxes(
        automargin=True,
        gridcolor=RULE,
        linecolor=RULE,
        zeroline=False,
        ticks="outside",
        tickcolor=RULE,
        title={"font": {"size": 12, "color": MUTED}, "standoff": 8},
        tickfont={"size": 12},
    )
    figure.update_yaxes(
        automargin=True,
        gridcolor=RULE,
        linecolor=RULE,
        zeroline=False,
        ticks="outside",
        tickcolor=RULE,
        title={"font": {"size": 12, "color": MUTED}, "standoff": 8},
        tickfont={"size": 12},
    )
    figure.update_annotations(font={"size": 13, "color": INK})
    return figure
