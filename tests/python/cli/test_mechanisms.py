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


def test_the_frequency_turns_cycles_into_seconds(vmem_command, tmp_path):
    """A third of the frequency: equal work takes three times as long on the processors."""
    told = {}
    for ghz in (3, 1):
        out = tmp_path / f"{ghz}.json"
        result = vmem_command("compare", "--mechanisms", "--memory", "64MiB", "--ghz", ghz, "--json", out)
        assert result.exit_code == 0, result.output
        told[ghz] = json.loads(out.read_text())
        assert told[ghz]["ghz"] == ghz
    for row in told[1]["mechanisms"]:
        install = row["install"]
        seconds = install["cycles"] / 1e9 + install["host_ns"] / 1e9
        assert install["seconds_per_gib"] == pytest.approx(seconds * 2**30 / install["bytes"])
    assert (
        told[1]["mechanisms"][0]["install"]["seconds_per_gib"]
        > 2.9 * (told[3]["mechanisms"][0]["install"]["seconds_per_gib"])
    )


def test_a_trace_has_no_use_for_a_frequency(vmem_command):
    result = vmem_command("compare", "sort", "--ghz", "2")
    assert result.exit_code == 2 and "--ghz: accepted with --mechanisms only" in result.output
