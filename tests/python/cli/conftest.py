"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vmem.cli import main

SMALL = """
[host]
memory = "1GiB"

[[vm]]
name = "bare"
memory = "64MiB"
mmu = "native"

[[vm.process]]
workload = { kind = "zipf", size = "16MiB", references = 60_000, writes = 0.3 }

[[vm]]
name = "guest"
count = 2
memory = "64MiB"
vcpus = 2

[[vm.process]]
workload = { kind = "zipf", size = "16MiB", references = 60_000, writes = 0.3 }

[[vm.process]]
name = "sorter"
trace = "sort"
repeat = 2

[run]
limit = 100_000
steps = 10
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A scenario of three VMs, native and nested, that runs in no time."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def vmem_command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """vmem_command(*arguments) → what `vmem` gives: exit_code, stdout, stderr. 80 columns wide."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
