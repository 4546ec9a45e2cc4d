"""sweep.html: the results of a sweep as heatmaps over two keys of its grid."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from vmem import __version__
from vmem.report import style
from vmem.report.document import chart, document
from vmem.report.numbers import short_count
from vmem.sweep.answers import MEANING
from vmem.sweep.grid import Setting
from vmem.sweep.point import Outcome

SHOWN = ("stall", "stall_worst", "slowdown_worst", "access_p99_ns", "host_swapped_in", "guest_swapped_in")
_SHARES = ("stall", "stall_worst")
_PLAIN = ("stall", "slowdown")
"""Numbers that are small; the others are counts and nanoseconds."""


def axes(outcomes: Sequence[Outcome]) -> tuple[str, str | None]:
    """The two keys with the most values, seeds only if there is nothing else; None: there is but one key."""
    keys = list(outcomes[0].settings)
    counts = {key: len({outcome.settings[key] for outcome in outcomes}) for key in keys}
    ranked = sorted(keys, key=lambda key: (key != "seed", counts[key]), reverse=True)
    return (ranked[0], ranked[1] if len(ranked) > 1 else None)


def heatmap(outcomes: Sequence[Outcome], name: str) -> go.Figure | None:
    """One number over the two keys, the mean of the runs that share a cell; None if no run has it."""
    across, down = axes(outcomes)
    cells: dict[tuple[Setting, Setting], list[float]] = {}
    for outcome in outcomes:
        value = outcome.numbers.get(name)
        if value is not None:
            place = outcome.settings[across], outcome.settings[down] if down else ""
            cells.setdefault(place, []).append(float(value) * (100 if name in _SHARES else 1))
    if not cells:
        return None
    columns = list(dict.fromkeys(outcome.settings[across] for outcome in outcomes))
    rows = list(dict.fromkeys(outcome.settings[down] if down else "" for outcome in outcomes))
    means = [
        [sum(cells[x, y]) / len(cells[x, y]) if (x, y) in cells else None for x in columns] for y in rows
    ]
    figure = go.Figure()
    figure.add_heatmap(
        x=[str(x) for x in columns],
        y=[str(y) for y in rows],
        z=means,
        text=[[_number(z, name) for z in row] for row in means],
        texttemplate="%{text}",
        textfont={"color": style.INK},
        colorscale=style.HEAT,
        xgap=1,
        ygap=1,
        colorbar={"title": {"text": "%" if name in _SHARES else ""}, "thickness": 12},
        hovertemplate=f"{across} %{{x}}, {down or ''} %{{y}}: %{{z:,.4g}}<extra></extra>",
    )
    # The buttons lie above the plot: beside it is the scale of colours.
    style.frame(figure, 166 + 42 * len(rows), top=40)
    figure.update_layout(modebar={"orientation": "h"})
    figure.update_xaxes(title_text=across, type="category")
    figure.update_yaxes(title_text=down or "", type="category", autorange="reversed")
    return figure


def _number(value: float | None, name: str) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if name.startswith(_PLAIN) else short_count(value)


def sweep_html(outcomes: Sequence[Outcome], name: str) -> str:
    """The page of a sweep's results: one HTML document that loads nothing."""
    sections = []
    for number in SHOWN:
        figure = heatmap(outcomes, number)
        if figure is not None:
            what = MEANING[number][:1].upper() + MEANING[number][1:]
            meaning = f"{escape(what)}. Runs that differ in other keys: their mean."
            sections.append(
                f'<section><h2>{escape(number)}</h2><p class="how">{meaning}</p>'
                f"{chart(figure, number)}</section>"
            )
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    warning = (
        f'<p class="warning">{len(failed)} of {len(outcomes)} runs failed, the first: '
        f"{escape(str(failed[0].error))}</p>"
        if failed
        else ""
    )
    return document(
        "sweep.html",
        name=escape(name),
        version=__version__,
        runs=f"{len(outcomes):,}",
        warning=warning,
        sections="".join(sections),
    )
