"""report.html and the view behind it: self-contained, true to the numbers, readable for any number of VMs."""

from __future__ import annotations

import html.parser
import itertools
import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from vmem import measures
from vmem.report import charts, style, timeline
from vmem.report.axis import axis_of
from vmem.report.numbers import short_count, short_size
from vmem.report.page import findings, report_html
from vmem.report.view import MOST, Shown, view
from vmem.runner import Result, Runner
from vmem.scenario import Scenario
from vmem.timed import TimedRunner


@pytest.fixture
def result(small: Path) -> Result:
    return Runner(Scenario.load(small)).run()


def _figures(result: Result) -> dict[str, go.Figure]:
    shown, axis = view(result), axis_of(result)
    memory = timeline.memory(shown, axis)
    assert memory is not None
    return {
        "ended": charts.ended(shown),
        "walks": charts.walk_references(shown),
        "cycles": charts.cycles(shown),
        "memory": memory,
        "events": timeline.events(shown, axis),
    }


class _Page(html.parser.HTMLParser):
    """What a page would load, and its text outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        values = dict(attrs)
        self.loads += [str(values[name]) for name in ("src", "href", "data", "poster") if name in values]
        if "id" in values:
            self.ids.append(str(values["id"]))

    def handle_data(self, data: str) -> None:
        if self._tag not in ("script", "style"):
            self.text += data


def test_page_is_whole_and_loads_nothing(result: Result) -> None:
    page = _Page()
    page.feed(report_html(result))
    assert page.loads == []
    assert [f"chart-{name}" for name in _figures(result)] == [name for name in page.ids if "chart" in name]
    for vm in result.summary["vms"]:
        assert vm["name"] in page.text
        assert f"{vm['counters']['cycles']:,}" in page.text
    assert result.scenario.text in page.text
    assert "$" not in page.text


def test_page_of_a_run_over_time_has_each_chart_once(small: Path) -> None:
    text = small.read_text()
    text = (
        text.replace("[run]", '[run]\nduration = "2ms"', 1)
        if "[run]" in text
        else text + '[run]\nduration = "2ms"\n'
    )
    page = _Page()
    page.feed(report_html(TimedRunner(Scenario.parse(text)).run()))
    charts = [name for name in page.ids if name.startswith("chart-")]
    assert charts[:2] == ["chart-host", "chart-stall"]
    assert len(charts) == len(set(charts)) >= 6


def test_page_escapes_what_a_scenario_says(small: Path) -> None:
    small.write_text(small.read_text() + "# <script>alert(1)</script> & $name\n")
    text = report_html(Runner(Scenario.load(small)).run())
    assert "<script>alert" not in text
    assert "# &lt;script&gt;alert(1)&lt;/script&gt; &amp; $name" in text


def _traces(figure: go.Figure, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def test_ended_shows_every_access(result: Result) -> None:
    figure, shown = charts.ended(view(result)), charts.together(view(result))
    bars = [_traces(figure, name)[0] for name in style.ENDED]
    for i, vm in enumerate(shown):
        assert sum(bar.x[i] for bar in bars) == pytest.approx(100)
        assert sum(bar.customdata[i] for bar in bars) == vm.counters["accesses"]


def test_walk_references_add_up(result: Result) -> None:
    figure = charts.walk_references(view(result))
    guest, host = (_traces(figure, name)[0] for name in style.TABLES)
    for i, vm in enumerate(charts.together(view(result))):
        assert guest.x[i] + host.x[i] == pytest.approx(vm.rates["refs_per_walk"])
        assert guest.customdata[i] + host.customdata[i] == vm.counters["walk_refs"]


def test_cycles_add_up(result: Result) -> None:
    figure = charts.cycles(view(result))
    found: dict[str, float] = {}
    for what in measures.CAUSES.values():
        for bar in _traces(figure, what):
            for label, value in zip(bar.y, bar.x, strict=True):
                found[label] = found.get(label, 0) + value
    for vm in view(result):
        assert found[charts.label(vm)] == pytest.approx(vm.rates["cycles_per_access"])


def test_one_program_stands_together(small: Path) -> None:
    text = small.read_text()
    # A third table, which runs what the first one runs.
    third = text.split("[[vm]]")[1].replace('"bare"', '"late"').replace('"native"', '"nested"')
    small.write_text(text.replace("[run]", f"[[vm]]{third}[run]"))
    result = Runner(Scenario.load(small)).run()
    assert [vm.label for vm in charts.together(view(result))][:2] == ["bare", "late"]
    (found,) = findings(view(result))
    bare, late = (vm.rates["cycles_per_access"] for vm in charts.together(view(result))[:2])
    start = f"zipf costs {bare:.2f} cycles per access on bare (native)"
    assert found == f"{start}; {late / bare:.2f}× that on late (nested 4KiB)."


def test_memory_leaves_native_machines_out(result: Result) -> None:
    figure = timeline.memory(view(result), axis_of(result))
    assert figure is not None
    nested = [vm for vm in view(result) if vm.mmu != "native"]
    assert len(_traces(figure, "resident")) == len(nested)
    assert _traces(figure, "resident")[0].y[-1] == nested[0].resident / 2**20
    assert timeline.memory([vm for vm in view(result) if vm.mmu == "native"], axis_of(result)) is None


def test_events_are_rates_per_step(result: Result) -> None:
    figure = timeline.events(view(result), axis_of(result))
    for vm, trace in zip(view(result), _traces(figure, "TLB misses"), strict=True):
        back = sum(
            (rate or 0) * row.references / 1000 for rate, row in zip(trace.y, vm.rows[1:], strict=True)
        )
        assert back == pytest.approx(vm.counters["tlb_misses"])


def test_events_are_inside_their_axes(result: Result) -> None:
    figure = timeline.events(view(result), axis_of(result))
    low, high = figure.layout.yaxis.range
    rates = [rate for trace in figure.data for rate in trace.y if rate is not None]
    assert rates and all(10**low < rate < 10**high for rate in rates)
    assert {tuple(axis.range) for axis in figure.select_yaxes()} == {(low, high)}


def test_charts_are_titled_and_not_clipped(result: Result) -> None:
    for name, figure in _figures(result).items():
        assert figure.layout.height > 150, name
        titles = [axis.title.text for axis in figure.select_xaxes() if axis.title.text]
        assert titles, name
        assert all(axis.automargin for axis in [*figure.select_xaxes(), *figure.select_yaxes()])
        assert any(trace.showlegend is not False for trace in figure.data), name


def _grey(colour: str) -> float:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


@pytest.mark.parametrize("fills", [style.ENDED, style.TABLES, style.CAUSES])
def test_neighbours_differ_without_colour(fills: dict[str, style.Fill]) -> None:
    kinds = list(fills.values())
    assert len({(fill.colour, fill.pattern) for fill in kinds}) == len(kinds)
    for one, next_one in itertools.pairwise(kinds):
        assert one.pattern != next_one.pattern or abs(_grey(one.colour) - _grey(next_one.colour)) > 30


@pytest.mark.parametrize("strokes", [style.EVENTS, style.MEMORY, style.DECISIONS])
def test_lines_differ_without_colour(strokes: dict[str, style.Stroke]) -> None:
    assert len({stroke.dash for stroke in strokes.values()}) == len(strokes)


def _many(count: int) -> Result:
    table = '[[vm]]\nname = "{}"\ncount = {}\nmemory = "4MiB"\n[[vm.process]]\n'
    program = 'workload = { kind = "uniform", size = "1MiB", references = 1_000 }\n[run]\nsteps = 3\n'
    return Runner(Scenario.parse(table.format("web", count) + program)).run()


def test_many_vms_are_shown_in_sums() -> None:
    few, many = _many(MOST), _many(MOST + 1)
    assert [vm.label for vm in view(few)] == [f"web-{i + 1}" for i in range(MOST)]
    (web,) = view(many)
    assert web.label == f"web ({MOST + 1})"
    vms = many.summary["vms"]
    assert web.references == sum(vm["references"] for vm in vms) == (MOST + 1) * 1000
    assert web.resident == sum(vm["resident_bytes"] for vm in vms)
    for name, value in web.counters.items():
        assert value == sum(vm["counters"][name] for vm in vms)
    assert [row.references for row in web.rows] == [0, *[334 * (MOST + 1)] * 2, 332 * (MOST + 1)]
    assert web.label in report_html(many)


def test_a_vm_that_did_nothing(small: Path) -> None:
    """Nothing to divide by, nothing to take a logarithm of."""
    result = Runner(Scenario.load(small)).run()
    idle = [
        Shown(
            **{
                **{name: getattr(vm, name) for name in Shown.__dataclass_fields__},
                "counters": dict.fromkeys(vm.counters, 0),
                "rates": dict.fromkeys(vm.rates, 0.0),
                "cycles_by_cause": dict.fromkeys(vm.cycles_by_cause, 0),
            }
        )
        for vm in view(result)
    ]
    for figure in (charts.ended(idle), charts.walk_references(idle), charts.cycles(idle)):
        assert "NaN" not in figure.to_json()
    assert findings(idle) == []


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (123_180_228, "123M"),
        (9_995, "10.0k"),
        (5.2e9, "5.20G"),
        (7e15, "7000T"),
    ],
)
def test_short_counts(count: float, text: str) -> None:
    assert short_count(count) == text
    assert len(text) <= 6


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (12 << 10, "12.0 KiB"),
        (512 << 20, "512 MiB"),
        (1 << 30, "1.00 GiB"),
        (3 << 50, "3072 TiB"),
    ],
)
def test_short_sizes(size: int, text: str) -> None:
    assert short_size(size) == text


def test_no_address_of_the_network_in_our_own_text() -> None:
    ours = Path(str(report_html.__code__.co_filename)).parent
    texts = [path for path in ours.iterdir() if path.suffix in (".html", ".css")]
    assert {"page.html", "sweep.html", "style.css"} <= {path.name for path in texts}
    for path in texts:
        assert not re.search(r"https?:|//[a-z]", path.read_text()), path.name
