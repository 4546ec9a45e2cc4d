"""What reports show of policies and sweeps: the numbers of the run, once each, and nothing from a network."""

from __future__ import annotations

import re

import pytest

from vmem.report.axis import axis_of
from vmem.report.decisions import decisions, moments
from vmem.report.heatmaps import SHOWN, axes, heatmap, sweep_html
from vmem.report.page import report_html
from vmem.report.view import view
from vmem.runner import Result
from vmem.scenario import Scenario
from vmem.sweep.point import Outcome
from vmem.timed import TimedRunner

TEXT = """
[host]
memory = "512MiB"
[policy]
name = "static"
share = 0.5
interval = "500ms"
[[vm]]
name = "a"
count = {}
memory = "32MiB"
[[vm.process]]
workload = {{ kind = "uniform", size = "4MiB", compute = "1ms" }}
[run]
duration = "2s"
steps = 4
slowdown = false
"""
MIB = 1 << 20


def run(count: int) -> Result:
    return TimedRunner(Scenario.parse(TEXT.format(count))).run()


def test_decisions_are_those_of_the_run() -> None:
    result = run(2)
    shown = view(result)
    figure = decisions(result, shown, axis_of(result))
    assert figure is not None
    target = next(trace for trace in figure.data if trace.name == "target")
    rows = [row for row in result.policy if row.vm == "a-1"]
    assert list(target.x) == [row.time_ns / 1e9 for row in rows]
    assert list(target.y) == [16] * len(rows)
    actual = next(trace for trace in figure.data if trace.name == "actual")
    assert list(actual.y) == [row.actual / MIB for row in rows] and actual.y[0] == 32 and actual.y[-1] == 16
    marks = [trace for trace in figure.data if trace.name == "target changed"]
    assert [list(mark.y) for mark in marks] == [[16], [16]]


def test_many_vms_are_summed_up() -> None:
    result = run(15)
    (found,) = moments(result, view(result)).values()
    assert found[0].target == 15 * 16 * MIB and found[0].changed == 15 and found[0].actual == 15 * 32 * MIB
    assert found[-1].actual == 15 * 16 * MIB and found[-1].changed == 0


def test_the_page_has_the_chart_once_and_only_with_a_policy() -> None:
    text = report_html(run(1))
    assert text.count('id="chart-decisions"') == 1
    assert "static was asked 3 times, every 500 ms, and changed 1 targets" in text
    without = Scenario.parse(re.sub(r"\[policy\]\n(.*\n){3}", "", TEXT.format(1)))
    assert "chart-decisions" not in report_html(TimedRunner(without).run())


def outcomes() -> list[Outcome]:
    return [
        Outcome({"policy": policy, "ratio": ratio, "seed": seed}, {"stall": 0.01 * ratio * seed}, None, 1.0)
        for policy in ("esx", "mom")
        for ratio in (1, 2, 4)
        for seed in (1, 3)
    ]


def test_heatmaps_are_means_over_seeds() -> None:
    assert axes(outcomes()) == ("ratio", "policy")
    figure = heatmap(outcomes(), "stall")
    assert figure is not None
    (cells,) = figure.data
    assert list(cells.x) == ["1", "2", "4"] and list(cells.y) == ["esx", "mom"]
    assert [list(row) for row in cells.z] == [[pytest.approx(2 * ratio) for ratio in (1, 2, 4)]] * 2
    assert heatmap(outcomes(), "slowdown_worst") is None
    one = heatmap([Outcome({"seed": 1}, {"stall": 0.5}, None, 1.0)], "stall")
    assert one is not None and list(one.data[0].z[0]) == [50.0]


def test_the_sweep_page_is_whole() -> None:
    bad = Outcome({"policy": "psi", "ratio": 9, "seed": 1}, {}, "<no room>", 0.0)
    text = sweep_html([*outcomes(), bad], "a <b>")
    assert re.findall(r'id="chart-([a-z0-9_]+)"', text) == [name for name in SHOWN if name == "stall"]
    assert "1 of 13 runs failed, the first: &lt;no room&gt;" in text and "a &lt;b&gt;" in text
    head = text[: text.index("<script>")] + text[text.index("</head>") :]
    assert not re.search(r'(src|href)="', head)
