"""The chart of a policy: what each guest needed, was to keep, kept and held; and when targets changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from vmem.policies.controller import PolicyRow
from vmem.report import style
from vmem.report.axis import Axis
from vmem.report.timeline import finish, panels, place_of
from vmem.report.view import MOST, Shown
from vmem.runner import Result

_MIB = 1 << 20


@dataclass(frozen=True)
class Moment:
    """One VM, or several together, when the policy decided. Bytes."""

    time_ns: int
    used: int
    target: int
    actual: int
    resident: int
    changed: int
    """Targets that were changed."""
    step: int = 0


_LINES: dict[str, Callable[[Moment], int]] = {
    "resident": lambda moment: moment.resident,
    "used by the guest": lambda moment: moment.used,
    "target": lambda moment: moment.target,
    "actual": lambda moment: moment.actual,
}


def moments(result: Result, shown: Sequence[Shown]) -> dict[str, list[Moment]]:
    """By the labels of what is shown, in the order of time."""
    vms = result.summary["vms"]
    key = "name" if len(vms) <= MOST else "group"
    names = {vm["name"]: vm[key] for vm in vms}
    labels = {vm.label.split(" (")[0]: vm.label for vm in shown}
    found: dict[str, dict[int, list[PolicyRow]]] = {}
    for row in result.policy:
        found.setdefault(labels[names[row.vm]], {}).setdefault(row.time_ns, []).append(row)
    return {label: [_sum(rows) for rows in times.values()] for label, times in found.items()}


def _sum(rows: Sequence[PolicyRow]) -> Moment:
    return Moment(
        rows[0].time_ns,
        sum(max(0, row.actual - (row.guest_free or 0)) for row in rows),
        sum(row.target if row.wanted is None else row.wanted for row in rows),
        sum(row.actual for row in rows),
        sum(row.resident for row in rows),
        sum(row.wanted is not None for row in rows),
    )


def decisions(result: Result, shown: Sequence[Shown], axis: Axis) -> go.Figure | None:
    """A panel for each VM that the policy saw; None if it saw none."""
    found = moments(result, shown)
    vms = [vm for vm in shown if vm.label in found]
    if not vms:
        return None
    figure = panels(vms)
    for index, vm in enumerate(vms):
        for name, value in _LINES.items():
            stroke = style.DECISIONS[name]
            figure.add_scatter(
                x=[axis.of(moment) for moment in found[vm.label]],
                y=[value(moment) / _MIB for moment in found[vm.label]],
                name=name,
                legendgroup=name,
                showlegend=index == 0,
                mode="lines",
                line={
                    "color": stroke.colour,
                    "width": 1.8,
                    "dash": stroke.dash,
                    "shape": "hv" if name == "target" else "linear",
                },
                hovertemplate="%{y:,.1f} MiB " + name + "<extra></extra>",
                **place_of(index),
            )
        _mark(figure, [moment for moment in found[vm.label] if moment.changed], axis, index)
    finish(figure, vms, axis, "MiB")
    figure.update_yaxes(rangemode="tozero")
    return figure


def _mark(figure: go.Figure, changed: Sequence[Moment], axis: Axis, index: int) -> None:
    """Where the policy changed a target."""
    figure.add_scatter(
        x=[axis.of(moment) for moment in changed],
        y=[moment.target / _MIB for moment in changed],
        name="target changed",
        legendgroup="changed",
        showlegend=index == 0,
        mode="markers",
        marker={"symbol": "diamond-open", "size": 7, "color": style.INK},
        customdata=[moment.changed for moment in changed],
        hovertemplate="target changed to %{y:,.1f} MiB (%{customdata} VMs)<extra></extra>",
        **place_of(index),
    )
