"""`import vmem` brings only what everyone needs. How long it takes is measured by measure_import.py."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "asyncio",
    "backports.zstd",
    "cffi",
    "click",
    "lzma",
    "msgspec",
    "pandas",
    "plotly",
    "rich",
    "unicorn",
}
LATER = {"vmem.cli", "vmem.report", "vmem.scenario", "vmem.traces"}


def modules_after(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_importing_vmem_is_light() -> None:
    loaded = modules_after("import vmem")
    assert {"vmem", "vmem._core", "numpy"} <= loaded
    # What numpy itself brings along is not ours to avoid.
    ours = loaded - modules_after("import numpy")
    assert HEAVY & ours == set()
    assert LATER & loaded == set()


def test_traces_arrive_when_they_are_used() -> None:
    loaded = modules_after("import vmem; vmem.Trace")
    assert "vmem.traces" in loaded
    assert {"click", "rich", "plotly", "asyncio"} & loaded == set()


def test_star_import_gives_what_all_names() -> None:
    code = (
        "import vmem; names = {}; exec('from vmem import *', names); assert set(vmem.__all__) <= set(names)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_attributes_are_attribute_errors() -> None:
    code = "import vmem; assert not hasattr(vmem, 'nonsense')"
    subprocess.run([sys.executable, "-c", code], check=True)
