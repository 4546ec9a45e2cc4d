"""`vmem compare --mechanisms`."""

from __future__ import annotations

import json

import pytest

from vmem.ways import WAYS


def test_compare_mechanisms_on_the_command_line(vmem_command, tmp_path):
    out = tmp_path / "m.json"
    result = vmem_command("compare", "--mechanisms", "--memory", "128MiB", "--json", str(out))
    assert result.exit_code == 0, result.output
    told = json.loads(out.read_text())
    assert [row["mechanism"] for row in told["mechanisms"]] == list(WAYS)
    assert all(way in result.output for way in WAYS)


@pytest.mark.parametrize("arguments", [("compare",), ("compare", "sort", "--mechanisms")])
def test_compare_wants_one_of_them(vmem_command, arguments):
    result = vmem_command(*arguments)
    assert result.exit_code == 2 and "either a TRACE or --mechanisms" in result.output
