"""A small scenario that a sweep takes a second for."""

from __future__ import annotations

from pathlib import Path

import pytest

SCENARIO = """
[host]
memory = "96MiB"
swap = "128MiB"

[[vm]]
name = "a"
count = 2
memory = "64MiB"

[[vm.process]]
workload = { kind = "uniform", size = "30MiB", compute = "100us" }

[run]
duration = "3s"
slowdown = false
steps = 5
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path
