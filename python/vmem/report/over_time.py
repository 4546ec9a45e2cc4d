"""The charts of a run over time: who holds the host's memory, and where each VM's time goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from vmem.report import style
from vmem.report.axis import Axis
from vmem.report.timeline import finish, panels, place_of
from vmem.report.view import Shown
from vmem.rows import HostRow, Row

_MIB = 1 << 20


def host(shown: Sequence[Shown], rows: Sequence[HostRow], total: int, axis: Axis) -> go.Figure:
    """Machine memory by holder, stacked up to all of it: VMs, host processes, tables, what is free."""
    figure = go.Figure()
    x = [axis.of(row) for row in rows]
    holders: list[tuple[str, list[int], style.Fill]] = [
        (vm.label, [row.resident_bytes for row in vm.rows], style.HOLDERS[i % len(style.HOLDERS)])
        for i, vm in enumerate(shown)
    ]
    if any(row.process_bytes for row in rows):
        holders.append(("host's own programs", [row.process_bytes for row in rows], style.PROCESSES))
    holders += [
        ("hypervisor's tables", [row.table_bytes for row in rows], style.TABLES_HELD),
        ("free", [row.free_bytes for row in rows], style.FREE),
    ]
    for name, held, fill in holders:
        figure.add_scatter(
            x=x,
            y=[count / _MIB for count in held],
            name=name,
            mode="lines",
            stackgroup="memory",
            line={"width": 0.8, "color": "white"},
            fillcolor=fill.colour,
            fillpattern=fill.hatched,
            hovertemplate="%{y:,.1f} MiB " + name + "<extra></extra>",
        )
    style.frame(figure, 420, hovermode="x unified")
    figure.update_xaxes(title_text=axis.title, range=[0, max(x)])
    figure.update_yaxes(title_text="MiB of machine memory", range=[0, total / _MIB])
    return figure


def stall(shown: Sequence[Shown], axis: Axis) -> go.Figure:
    """Each step's time of each VM, in shares: running, waiting for disk or swap, without a physical CPU."""
    parts: dict[str, Callable[[Row], int]] = {
        "running": lambda row: row.running_ns,
        "waiting for disk or swap": lambda row: row.waiting_ns,
        "no physical CPU": lambda row: row.runnable_ns,
    }
    figure = panels(shown, shared_yaxes="all")
    for index, vm in enumerate(shown):
        rows = vm.rows[1:]
        before = vm.rows[:-1]
        for name, part in parts.items():
            figure.add_bar(
                x=[(axis.of(row) + axis.of(last)) / 2 for row, last in zip(rows, before, strict=True)],
                y=[
                    100 * part(row) / max(1, vm.vcpus * (row.time_ns - last.time_ns))
                    for row, last in zip(rows, before, strict=True)
                ],
                width=[axis.of(row) - axis.of(last) for row, last in zip(rows, before, strict=True)],
                name=name,
                legendgroup=name,
                showlegend=index == 0,
                marker={**style.TIMES[name].marker, "line": {"width": 0}},
                hovertemplate="%{y:.1f} % " + name + "<extra></extra>",
                **place_of(index),
            )
    finish(figure, shown, axis, "% of vCPU time")
    figure.update_layout(barmode="stack", bargap=0)
    figure.update_yaxes(range=[0, 100])
    return figure
