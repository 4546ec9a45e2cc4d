"""The charts about the course of a run: a small panel for each VM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, log10

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vmem.report import style
from vmem.report.axis import Axis
from vmem.report.view import Shown
from vmem.rows import Row

_COLUMNS = 2
_PANEL = 165
_MIB = 1 << 20


_ELSEWHERE: dict[str, Callable[[Row], int]] = {
    "in the balloon": lambda row: row.balloon_bytes,
    "in the host's swap": lambda row: row.swapped_bytes,
    "in the guest's swap": lambda row: row.guest_swapped_bytes,
}
"""Memory of a VM that is not resident, where there is any."""


def memory(shown: Sequence[Shown], axis: Axis) -> go.Figure | None:
    """What the host has given each VM, what its kernel has given out, and what lies elsewhere.

    None if all are native.
    """
    vms = [vm for vm in shown if vm.mmu != "native"]
    if not vms:
        return None
    figure = panels(vms)
    for index, vm in enumerate(vms):
        place = place_of(index)
        resident, used = style.MEMORY["resident"], style.MEMORY["used by the guest"]
        x = [axis.of(row) for row in vm.rows]
        figure.add_scatter(
            x=x,
            y=[row.resident_bytes / _MIB for row in vm.rows],
            name="resident",
            legendgroup="resident",
            showlegend=index == 0,
            mode="lines",
            fill="tozeroy",
            fillcolor="rgba(86, 180, 233, 0.35)",
            line={"color": resident.colour, "width": 2, "dash": resident.dash},
            hovertemplate="%{y:.1f} MiB resident<extra></extra>",
            **place,
        )
        figure.add_scatter(
            x=x,
            y=[row.guest_used_bytes / _MIB for row in vm.rows],
            name="used by the guest",
            legendgroup="used",
            showlegend=index == 0,
            mode="lines",
            line={"color": used.colour, "width": 2, "dash": used.dash},
            hovertemplate="%{y:.1f} MiB used by the guest<extra></extra>",
            **place,
        )
    for name, held in _ELSEWHERE.items():
        if not any(held(row) for vm in vms for row in vm.rows):
            continue
        stroke = style.MEMORY[name]
        for index, vm in enumerate(vms):
            figure.add_scatter(
                x=[axis.of(row) for row in vm.rows],
                y=[held(row) / _MIB for row in vm.rows],
                name=name,
                legendgroup=name,
                showlegend=index == 0,
                mode="lines",
                line={"color": stroke.colour, "width": 1.5, "dash": stroke.dash},
                hovertemplate="%{y:.1f} MiB " + name + "<extra></extra>",
                **place_of(index),
            )
    finish(figure, vms, axis, "MiB")
    figure.update_yaxes(rangemode="tozero")
    return figure


def events(shown: Sequence[Shown], axis: Axis) -> go.Figure:
    """TLB misses, guest faults and VM exits per 1,000 references, step by step, on equal logarithmic axes."""
    counts: dict[str, Callable[[Row], int]] = {
        "TLB misses": lambda row: row.tlb_misses,
        "guest faults": lambda row: row.guest_faults,
        "VM exits": lambda row: row.exits,
    }
    figure = panels(shown, shared_yaxes="all")
    for index, vm in enumerate(shown):
        rows = vm.rows[1:]
        for name, count in counts.items():
            stroke = style.EVENTS[name]
            figure.add_scatter(
                x=[axis.of(row) for row in rows],
                y=[_rate(count(row), row.references) for row in rows],
                name=name,
                legendgroup=name,
                showlegend=index == 0,
                mode="lines+markers",
                line={"color": stroke.colour, "width": 1.5, "dash": stroke.dash},
                marker={"symbol": stroke.symbol, "size": 6 if "open" in stroke.symbol else 4},
                hovertemplate="%{y:.3g} " + name + " per 1,000<extra></extra>",
                **place_of(index),
            )
    finish(figure, shown, axis, "per 1,000 refs")
    rates = [rate for trace in figure.data for rate in trace.y if rate]
    low, high = floor(log10(min(rates, default=1))), ceil(log10(max(rates, default=1)))
    span = [low - 0.2, max(high, low + 1) + 0.2]
    figure.update_yaxes(type="log", range=span, dtick=1, exponentformat="none")
    return figure


def _rate(count: int, references: int) -> float | None:
    """None where there is nothing to show on a logarithmic axis."""
    return 1000 * count / references if count and references else None


def panels(vms: Sequence[Shown], **options: str) -> go.Figure:
    """A panel for each VM, titled."""
    rows = -(-len(vms) // _COLUMNS)
    titles = [f"<b>{vm.label}</b>  <span style='color:{style.MUTED}'>{vm.mode}</span>" for vm in vms]
    return make_subplots(
        rows,
        _COLUMNS,
        shared_xaxes="all",
        subplot_titles=titles,
        horizontal_spacing=0.09,
        vertical_spacing=min(0.5, 48 / (_PANEL * rows)),
        **options,
    )


def place_of(index: int) -> dict[str, int]:
    """Row and column of a VM's panel."""
    return {"row": index // _COLUMNS + 1, "col": index % _COLUMNS + 1}


def finish(figure: go.Figure, vms: Sequence[Shown], axis: Axis, unit: str) -> None:
    """Frame, ranges and titles of panels."""
    count = len(vms)
    rows = -(-count // _COLUMNS)
    style.frame(figure, 120 + _PANEL * rows, hovermode="x")
    figure.update_xaxes(range=[0, 1.01 * axis.of(vms[0].rows[-1])])
    for row in range(1, rows + 1):
        figure.update_yaxes(title_text=unit, row=row, col=1)
    for column in range(1, _COLUMNS + 1):
        last = rows if count % _COLUMNS == 0 or column <= count % _COLUMNS else rows - 1
        if last:
            figure.update_xaxes(title_text=axis.title, showticklabels=True, row=last, col=column)
