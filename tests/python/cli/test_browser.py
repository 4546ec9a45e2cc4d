"""Every page in a real browser without a network: nothing on its console, and each chart drawn whole."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from vmem.report.heatmaps import sweep_html
from vmem.report.page import report_html
from vmem.runner import Runner
from vmem.scenario import Scenario
from vmem.sweep.grid import Base, parse_grid
from vmem.sweep.point import run_point
from vmem.timed import TimedRunner

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian's package of that name)")

OVER_TIME = """
[host]
memory = "96MiB"
swap = "128MiB"
[policy]
name = "esx"
interval = "500ms"
[[vm]]
name = "web"
count = 2
memory = "64MiB"
swap = "64MiB"
[[vm.process]]
workload = { kind = "demand", compute = "100us", curve = [
  ["0s", "20MiB", "10MiB"], ["2s", "48MiB", "40MiB"], ["4s", "30MiB", "10MiB"],
] }
[[host_process]]
name = "backup"
memory = "8MiB"
start = "2s"
[run]
duration = "6s"
slowdown = false
steps = 24
"""
DRAWN_AS = {"trace bars": "bar", "trace scatter": "scatter", "hm": "heatmap"}


def browse(page: Path) -> tuple[str, list[str]]:
    """The document as it is when its scripts are done, and what was said on the console."""
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={page.parent / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND",  # no network: what a page loads is an error on the console
        "--enable-logging=stderr",
        "--virtual-time-budget=10000",
        "--window-size=1120,2000",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


class _Charts(html.parser.HTMLParser):
    """By chart: how many traces of each kind are drawn in it."""

    def __init__(self, dom: str) -> None:
        super().__init__()
        self.drawn: dict[str, Counter[str]] = {}
        self._chart, self._depth = "", 0
        self.feed(dom)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "div" and (values.get("id") or "").startswith("chart-"):
            self._chart, self._depth = str(values["id"]), 0
            self.drawn[self._chart] = Counter()
        self._depth += tag == "div"
        kind = next((kind for kind in DRAWN_AS if f"{values.get('class')} ".startswith(f"{kind} ")), None)
        if self._chart and tag == "g" and kind:
            self.drawn[self._chart][DRAWN_AS[kind]] += 1

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag == "div"
        if self._depth == 0:
            self._chart = ""


def _asked_for(page: str) -> dict[str, Counter[str]]:
    """By chart: how many traces of each kind its figure has."""
    found = {}
    for call in re.finditer(r'Plotly\.newPlot\(\s*"(chart-[^"]+)",\s*', page):
        traces, _ = json.JSONDecoder().raw_decode(page, call.end())
        found[call[1]] = Counter(trace["type"] for trace in traces)
    return found


def _pages(name: str, small: Path) -> str:
    if name == "by references":
        return report_html(Runner(Scenario.load(small)).run())
    if name == "over time, with a policy":
        return report_html(TimedRunner(Scenario.parse(OVER_TIME)).run())
    scenario = small.with_name("over_time.toml")
    scenario.write_text(OVER_TIME.replace('"6s"', '"2s"'))
    grid = parse_grid(["policy=none,esx", "ratio=1,1.6"])
    return sweep_html([run_point(Base.read(scenario), settings) for settings in grid], "sweep")


CHARTS = {
    "by references": {"ended", "walks", "cycles", "memory", "events"},
    "over time, with a policy": {
        "host",
        "stall",
        "ended",
        "walks",
        "cycles",
        "memory",
        "events",
        "decisions",
    },
    "a sweep": {"stall", "stall_worst", "access_p99_ns", "host_swapped_in", "guest_swapped_in"},
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_page_is_drawn_whole_and_without_complaint(name: str, small: Path, tmp_path: Path) -> None:
    text = _pages(name, small)
    page = tmp_path / "page.html"
    page.write_text(text)
    asked = _asked_for(text)
    assert set(asked) == {f"chart-{chart}" for chart in CHARTS[name]}
    dom, console = browse(page)
    assert console == []
    assert _Charts(dom).drawn == asked
    buttons = set(re.findall(r'class="modebar-btn[^"]*" data-title="([^"]*)"', dom))
    assert "Pan" in buttons and not re.search("share|cloud|edit", str(buttons), re.IGNORECASE)  # no uploads


@pytest.mark.parametrize(
    "fault", ["throw Error('broken')", "fetch('https://example.org/x.js')", "console.error('no')"]
)
def test_a_browser_sees_what_is_wrong(fault: str, tmp_path: Path) -> None:
    """That nothing is on the console says something only if something could be."""
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><title>x</title><script>{fault}</script>")
    assert browse(page)[1]
