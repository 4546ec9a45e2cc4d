"""Memory over time of a build in a VM, by the way to get memory back: examples/build_server.py.

HyperAlloc (EuroSys 2025) built clang in a VM of 16 GiB: it held 658.6 GiB min with nothing to give memory
back, 483.9 with virtio-mem resized by a policy, 434.5 with free page reporting, 357.2 when every free is
told at once. The course of memory here was made so that it has the last one's share; the others follow.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "build_server.py"
PUBLISHED = {"nothing": 658.6, "balloon": 483.9, "reporting": 434.5, "hypercalls": 357.2}
MIB = 1 << 20


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("build_server", EXAMPLE)
    assert spec is not None and spec.loader is not None
    sys.modules["build_server"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["build_server"]


@pytest.fixture(scope="module")
def courses(example: ModuleType) -> dict[str, Any]:
    return {way: example.course(way) for way in example.WAYS}


def test_memory_over_time_is_ordered_and_proportioned_as_published(courses: dict[str, Any]) -> None:
    shares = {way: course.mean / courses["nothing"].mean for way, course in courses.items()}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    for way, share in shares.items():
        assert share == pytest.approx(PUBLISHED[way] / PUBLISHED["nothing"], abs=0.05), way


def test_without_a_way_it_stays_at_the_peak(courses: dict[str, Any]) -> None:
    resident = courses["nothing"].resident
    assert min(resident) >= 1000 * MIB * 0.97 and resident == sorted(resident)


def test_what_is_told_at_once_follows_demand(courses: dict[str, Any]) -> None:
    """Resident is what is used, and the page array, which MemTotal leaves out."""
    course, page_array = courses["hypercalls"], 1024 * MIB // 4096 * 32
    gaps = [resident - used for used, resident in zip(course.used, course.resident, strict=True)]
    assert max(abs(gap - page_array) for gap in gaps) < MIB


def test_reporting_follows_demand_within_its_delay_and_its_granularity(courses: dict[str, Any]) -> None:
    """It never holds less than is used; what was touched before the build is given back in seconds."""
    course = courses["reporting"]
    assert all(resident > used for used, resident in zip(course.used, course.resident, strict=True))
    assert course.resident[0] > 900 * MIB and course.resident[8] < 500 * MIB


def test_only_the_balloon_makes_the_build_wait(courses: dict[str, Any]) -> None:
    waited = {way: course.waiting for way, course in courses.items()}
    assert waited["reporting"] == pytest.approx(waited["nothing"], rel=0.02)
    assert waited["hypercalls"] == pytest.approx(waited["nothing"], rel=0.05)
    assert waited["balloon"] > 1.2 * waited["nothing"]
    assert courses["balloon"].work < courses["nothing"].work


def test_the_sentence_says_what_the_numbers_say(
    example: ModuleType, courses: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    example.tell(courses)
    *table, _, sentence = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table[1:]] == list(example.WAYS)
    saved = 1 - courses["reporting"].mean / courses["nothing"].mean
    assert f"holds {saved:.0%} less memory" in sentence
