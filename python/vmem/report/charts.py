"""The charts about each VM's whole run: where accesses ended, what walks read, where cycles went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, log10
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vmem import measures
from vmem.report import style
from vmem.report.view import Shown

_BAR = 30
"""Pixels of a bar with the space around it."""
_AROUND = 130
"""Pixels above and below the plot."""
_PANEL_GAP = 74
"""Pixels between two panels: the upper one's axis and the lower one's title."""


def label(vm: Shown) -> str:
    """A VM on an axis: its name, and its mode in lighter ink."""
    return f"{vm.label}  <span style='color:{style.MUTED}'>{vm.mode}</span>"


def program(vm: Shown) -> str:
    """What it runs: VMs that run the same stand together."""
    return " + ".join(vm.programs)


def groups(shown: Sequence[Shown]) -> dict[str, list[Shown]]:
    """The VMs by what they run."""
    found: dict[str, list[Shown]] = {}
    for vm in shown:
        found.setdefault(program(vm), []).append(vm)
    return found


def together(shown: Sequence[Shown]) -> list[Shown]:
    """The VMs in the order of `groups`."""
    return [vm for members in groups(shown).values() for vm in members]


def ended(shown: Sequence[Shown]) -> go.Figure:
    """Shares of accesses that hit L1, hit L2 or walked, and the misses per 1,000 on a logarithmic axis."""
    vms = together(shown)
    labels = [label(vm) for vm in vms]
    figure = make_subplots(
        1,
        2,
        shared_yaxes=True,
        column_widths=[0.58, 0.42],
        horizontal_spacing=0.04,
        subplot_titles=["Share of accesses", "TLB misses per 1,000 accesses"],
    )
    counts: dict[str, Callable[[Shown], int]] = {
        "L1 hit": lambda vm: measures.l1_hits(vm.counters),
        "L2 hit": lambda vm: vm.counters["l2_hits"],
        "walk": lambda vm: vm.counters["tlb_misses"],
    }
    for name, count in counts.items():
        figure.add_bar(
            y=labels,
            x=[100 * vm.per_access(count(vm)) for vm in vms],
            name=name,
            orientation="h",
            marker=style.ENDED[name].marker,
            customdata=[count(vm) for vm in vms],
            hovertemplate="%{y}<br>" + name + ": %{x:.3f} %, %{customdata:,} accesses<extra></extra>",
            row=1,
            col=1,
        )
    misses = [1000 * vm.per_access(vm.counters["tlb_misses"]) for vm in vms]
    figure.add_scatter(
        y=labels,
        x=[value or None for value in misses],
        mode="markers+text",
        showlegend=False,
        text=[f"  {value:.3g}" for value in misses],
        textposition="middle right",
        textfont={"size": 12},
        marker={"color": style.VERMILION, "size": 10},
        cliponaxis=False,
        hovertemplate="%{y}<br>%{x:.4g} misses per 1,000 accesses<extra></extra>",
        row=1,
        col=2,
    )
    style.frame(figure, _AROUND + _BAR * len(vms), barmode="stack", bargap=0.3)
    figure.update_xaxes(title_text="accesses, %", range=[0, 100], row=1, col=1)
    figure.update_xaxes(title_text="misses per 1,000 accesses", row=1, col=2, **_decades(misses))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_yaxes(showgrid=True, row=1, col=2)
    return figure


def walk_references(shown: Sequence[Shown]) -> go.Figure:
    """Page-table entries that a walk reads on average, in the guest's table and in the host's."""
    vms = together(shown)
    labels = [label(vm) for vm in vms]
    figure = go.Figure()
    counts = {"guest's table": "walk_refs_guest", "host's table": "walk_refs_host"}
    for name, counter in counts.items():
        figure.add_bar(
            y=labels,
            x=[vm.counters[counter] / max(1, vm.counters["walks"]) for vm in vms],
            name=name,
            orientation="h",
            marker=style.TABLES[name].marker,
            customdata=[vm.counters[counter] for vm in vms],
            hovertemplate="%{y}<br>"
            + name
            + ": %{x:.2f} for each walk, %{customdata:,} in all<extra></extra>",
        )
    for text, vm in zip(labels, vms, strict=True):
        figure.add_annotation(
            y=text,
            x=vm.rates["refs_per_walk"],
            xanchor="left",
            xshift=6,
            showarrow=False,
            text=f"{vm.rates['refs_per_walk']:.2f} × {vm.counters['walks']:,} walks",
        )
    style.frame(figure, _AROUND - 24 + _BAR * len(vms), top=48, barmode="stack", bargap=0.3)
    most = max(vm.rates["refs_per_walk"] for vm in vms)
    figure.update_xaxes(title_text="references for each walk", range=[0, max(1.0, most) * 1.35])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def cycles(shown: Sequence[Shown]) -> go.Figure:
    """Cycles per access by cause: a panel for each program, with an axis of its own."""
    members = groups(shown)
    sizes = [len(vms) for vms in members.values()]
    space = _PANEL_GAP / (_BAR * sum(sizes) + _PANEL_GAP * (len(sizes) - 1))
    figure = make_subplots(
        len(members),
        1,
        row_heights=sizes,
        vertical_spacing=space if len(sizes) > 1 else 0,
        subplot_titles=[f"<b>{name}</b>" for name in members],
    )
    for row, vms in enumerate(members.values(), 1):
        for cause, what in measures.CAUSES.items():
            figure.add_bar(
                y=[label(vm) for vm in vms],
                x=[vm.per_access(vm.cycles_by_cause[cause]) for vm in vms],
                name=what,
                legendgroup=cause,
                showlegend=row == 1,
                orientation="h",
                marker=style.CAUSES[cause].marker,
                customdata=[vm.cycles_by_cause[cause] for vm in vms],
                hovertemplate="%{y}<br>"
                + what
                + ": %{x:.3f} per access, %{customdata:,} in all<extra></extra>",
                row=row,
                col=1,
            )
        for vm in vms:
            figure.add_annotation(
                y=label(vm),
                x=vm.rates["cycles_per_access"],
                xanchor="left",
                xshift=6,
                showarrow=False,
                text=f"{vm.rates['cycles_per_access']:.2f}",
                row=row,
                col=1,
            )
        most = max(vm.rates["cycles_per_access"] for vm in vms)
        figure.update_xaxes(range=[0, max(most, 1.0) * 1.12], row=row, col=1)
    height = _AROUND + 40 + _BAR * sum(sizes) + _PANEL_GAP * (len(sizes) - 1)
    style.frame(figure, height, top=112, barmode="stack", bargap=0.3)
    figure.update_xaxes(title_text="cycles per access", row=len(members), col=1)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    for title in figure.layout.annotations[: len(members)]:
        title.update(x=0, xanchor="left")
    return figure


def _decades(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis of rates per 1,000, with room for numbers at the right of its points."""
    logs = [log10(value) for value in values if value > 0] or [0.0]
    low, high = floor(min(logs)), max(logs)
    ticks = [10.0**power for power in range(low, 4)]
    span = [low - 0.2, high + 0.28 * max(1.0, high - low)]
    return {"type": "log", "range": span, "tickvals": ticks, "tickformat": "~g"}
