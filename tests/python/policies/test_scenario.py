"""[policy] in scenarios: what may be said, what is written of it, and that it is at work."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

import vmem
from vmem.cli import main
from vmem.runner import Result
from vmem.scenario import Scenario
from vmem.timed import TimedRunner

MIB = 1 << 20
SIX_TENTHS = 128 * MIB * 6 // 10 // 4096 * 4096 + 4096
VMS = """
[host]
memory = "180MiB"
swap = "256MiB"

[[vm]]
name = "a"
count = 2
memory = "128MiB"
swap = "128MiB"

[[vm.process]]
workload = { kind = "demand", compute = "100us", curve = [["0s", "90MiB", "20MiB"]] }

[run]
duration = "40s"
slowdown = false
steps = 20
"""
OWN = """
class Halves:
    def __init__(self, share=0.5):
        self.share = share

    def decide(self, host, vms):
        return {vm.name: vm.memory * self.share for vm in vms}

class Broken:
    def decide(self, host, vms):
        return {"nobody": 1 / (len(vms) - 2)}

class Mute: pass
"""


def run(policy: str, base: Path | None = None) -> Result:
    return TimedRunner(Scenario.parse(f"[policy]\n{policy}\n{VMS}", base=base)).run()


def test_every_vm_has_a_balloon_and_follows() -> None:
    result = run('name = "static"\nshare = 0.6\ninterval = "5s"')
    last = {row.vm: row for row in result.timeline}
    for row in last.values():
        assert row.balloon_target_bytes == SIX_TENTHS
        assert row.balloon_bytes == 128 * MIB - row.balloon_target_bytes
    summary = result.summary["policy"]
    assert summary["name"] == "static" and summary["decisions"] == 7 and summary["changes"] == 2
    assert [row.time_ns // 10**9 for row in result.policy if row.vm == "a-1"] == [5, 10, 15, 20, 25, 30, 35]
    assert not result.warnings


def test_minima_and_shares_of_vms_reach_the_policy() -> None:
    text = VMS.replace('name = "a"', 'name = "a"\nminimum = "100MiB"')
    result = TimedRunner(Scenario.parse('[policy]\nname = "static"\nshare = 0.1\n' + text)).run()
    assert {row.wanted for row in result.policy if row.wanted} == {100 * MIB}
    result = run('name = "static"\nshare = 0.1\nfloor = 0.5')
    assert {row.wanted for row in result.policy if row.wanted} == {64 * MIB}


@pytest.mark.parametrize("name", ["esx", "mom", "proxmox", "psi"])
def test_every_policy_gets_memory_from_guests_on_a_host_that_is_short(name: str) -> None:
    result = run(f'name = "{name}"\ninterval = "2s"')
    assert result.summary["policy"]["changes"] > 0
    assert max(row.balloon_bytes for row in result.timeline) > 5 * MIB
    assert not result.warnings
    assert not any(vm["killed"] for vm in result.summary["vms"])


def test_own_policies_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    result = run('name = "own.py:Halves"\nshare = 0.75', tmp_path)
    assert {row.wanted for row in result.policy if row.wanted} == {96 * MIB}
    broken = run('name = "own.py:Broken"\ninterval = "10s"', tmp_path)
    (warning,) = broken.warnings
    assert "it raised ZeroDivisionError: division by zero (3 times)" in warning
    assert broken.summary["policy"]["incidents"] == 3
    assert broken.summary["policy"]["first_incidents"][0]["at_ns"] // 10**9 == 10


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("", r"policy: \{\}; accepted is a table with name = "),
        ('name = "exs"', r'policy.name: \'exs\'; accepted is "static", "esx", "mom", "proxmox" or "psi"'),
        ('name = "esx"\ntaxes = 1', r"policy.taxes: unknown key, did you mean 'tax'\?"),
        ('name = "esx"\ntax = 1', r"policy.tax: 1; accepted is a share from 0, below 1"),
        ('name = "mom"\ninterval = "0s"', r"policy.interval: '0s'; accepted is from 1 ms"),
        ('name = "mom"\nfloor = 0', r"policy.floor: 0; accepted is a share"),
        ('name = "mom"\nagents = 1', r"policy.agents: 1; accepted is true or false"),
        ('name = "psi"\nmin_size = "many"', r"policy.min_size: 'many'"),
        ('name = "none.py:A"', r"policy.name: 'none.py:A'; accepted is FILE.py:CLASS, and there is no file"),
        ('name = "own.py:A"', r"policy.name: .*own.py has no class 'A'"),
        ('name = "own.py:Mute"', r"policy.name: .*a class with a method decide"),
        ('name = "own.py:Halves"\nsize = 1', r"policy: Halves\(size\) raised TypeError: .*'size'"),
        ('name = "syntax.py:A"', r"policy.name: .*syntax.py raised SyntaxError"),
    ],
)
def test_errors_are_one_line(policy: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "syntax.py").write_text("def")
    with pytest.raises(vmem.ConfigError, match=said) as raised:
        Scenario.parse(f"[policy]\n{policy}\n{VMS}", base=tmp_path)
    assert "\n" not in str(raised.value)


def test_a_policy_needs_time_and_a_minimum_fits() -> None:
    with pytest.raises(vmem.ConfigError, match=r"policy: accepted in a run over time only"):
        Scenario.parse(
            '[policy]\nname = "esx"\n[[vm]]\nname = "a"\nmemory = "1GiB"\n[[vm.process]]\ntrace = "sort"'
        )
    with pytest.raises(vmem.ConfigError, match=r"vm\[0\].minimum: .*up to the VM's memory"):
        Scenario.parse(VMS.replace('name = "a"', 'name = "a"\nminimum = "1GiB"'))


def test_files_of_a_run(tmp_path: Path) -> None:
    scenario = tmp_path / "policy.toml"
    scenario.write_text('[policy]\nname = "static"\nshare = 0.6\ninterval = "10s"\n' + VMS)
    for out in ("one", "two"):
        ran = CliRunner().invoke(main, ["run", str(scenario), "--out", str(tmp_path / out)])
        assert ran.exit_code == 0, ran.output
    assert "policy.csv" in ran.output
    for name in ("summary.json", "policy.csv", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with (tmp_path / "one" / "policy.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["wanted"] for row in rows] == [str(SIX_TENTHS)] * 2 + [""] * 4
