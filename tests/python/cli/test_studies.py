"""The studies of examples/: each ends in a sentence, and what the sentence says is what the numbers give."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from vmem.policies import POLICIES
from vmem.sweep.grid import Base, parse_grid
from vmem.sweep.point import run_point

EXAMPLES = Path(__file__).parents[3] / "examples"
SLO = "stall_worst<1%"
FULL = pytest.mark.slow


def _run(*command: object) -> tuple[list[str], str]:
    """The lines of its table, and its last paragraph as one line."""
    words = [sys.executable, *(str(word) for word in command)]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    *_, last = printed.strip().split("\n\n")
    return printed.splitlines(), " ".join(last.split())


@pytest.mark.parametrize(
    "keys", [("run.duration=6s", "ratio=3.5"), pytest.param((), marks=FULL)], ids=["short", "full"]
)
def test_which_policy(keys: tuple[str, ...]) -> None:
    lines, sentence = _run(EXAMPLES / "which_policy.py", *keys)
    rows = {row[0]: row[1:] for row in (line.split() for line in lines[1:7])}
    assert set(rows) == {"none", *POLICIES}
    ranked = sorted(rows, key=lambda name: float(rows[name][0].rstrip("%")))
    best, worst = rows[ranked[0]][0], rows[ranked[-1]][0]
    said = re.fullmatch(
        r"On this load (use '(?P<policy>\w+)'|leave it to the host's own swap): "
        r"VMs wait (?P<best>[\d.]+%) of their time(, (?P<gain>\d+)% less than without a policy)?; "
        r"worst is '(?P<bad>\w+)' with (?P<worst>[\d.]+%)\.",
        sentence,
    )
    assert said is not None, sentence
    assert (said["best"], said["worst"]) == (best, worst) and float(worst[:-1]) > 0
    assert rows[said["policy"] or "none"][0] == best and rows[said["bad"]][0] == worst
    grid = parse_grid([f"policy={said['policy'] or 'none'}", *keys])
    outcome = run_point(Base.read(EXAMPLES / "which_policy.toml"), grid[0])
    assert f"{outcome.numbers['stall']:.2%}" == best  # the run itself says so, too
    if said["gain"]:
        stalls = [float(rows[name][0][:-1]) for name in (said["policy"], "none")]
        assert int(said["gain"]) == pytest.approx(100 - 100 * stalls[0] / stalls[1], abs=1.5)


@pytest.mark.parametrize("policies", [("mom",), pytest.param((), marks=FULL)], ids=["short", "full"])
def test_room_for_one_more(policies: tuple[str, ...]) -> None:
    lines, sentence = _run(EXAMPLES / "room_for_one_more.py", *policies)
    rows = {line.split()[0]: re.split(r"\s{2,}", line)[1:] for line in lines[1:-2]}
    assert set(rows) == {"balloon", "swap", *(policies or ("proxmox", "mom", "psi"))}
    assert f"the room is there after {rows['balloon'][0]}." in sentence
    assert f"Swapping it takes {rows['swap'][0]}, and costs it {rows['swap'][2]} of waiting" in sentence
    balloon, swap = (float(rows[way][0].split()[0]) for way in ("balloon", "swap"))
    assert balloon < swap  # what the advice rests on
    never = [way for way, row in rows.items() if row[0] == "never"]
    assert never and f"{' and '.join(never)} will not make it" in sentence


SHORT = "--seeds 1 --least 3 --most 7 --step 2 --set run.duration=30s --set fleet.0.generate.vms=10"
AS_DOCUMENTED = "--least 2 --most 7 --step 0.5 --seeds 3"


@pytest.mark.parametrize("options", [SHORT, pytest.param(AS_DOCUMENTED, marks=FULL)], ids=["short", "full"])
def test_how_far_a_fleet_goes(options: str, tmp_path: Path) -> None:
    numbers = tmp_path / "plan.json"
    words = ["-m", "vmem", "plan", EXAMPLES / "fleet.toml", "--slo", SLO, *options.split()]
    _, paragraph = _run(*words, "--json", numbers)
    found = json.loads(numbers.read_text())
    kept: dict[float, list[bool]] = {}
    for run in found["tried"]:
        kept.setdefault(run["ratio"], []).append(run["numbers"]["stall_worst"] < 0.01)
    good = [ratio for ratio, runs in kept.items() if all(runs)]
    bad = [ratio for ratio, runs in kept.items() if not all(runs)]
    seeds = len(kept[max(good)])
    assert (found["ratio"], found["breaks_at"]) == (max(good), min(bad))
    assert f"Overcommit up to {max(good):.2f} keeps stall_worst<0.01 in {seeds} of {seeds} runs" in paragraph
    assert f"at {min(bad):.2f} it no longer does" in paragraph
    assert f"at least {0.05 ** (1 / seeds):.0%} of loads like these keep it." in paragraph


def test_the_documented_commands_are_these() -> None:
    guide = (EXAMPLES.parent / "docs" / "guides" / "policies.md").read_text()
    assert f"`vmem plan examples/fleet.toml --slo '{SLO}' {AS_DOCUMENTED}`" in guide
    assert "`python examples/which_policy.py`" in guide and "`python examples/room_for_one_more.py`" in guide


@pytest.mark.parametrize("key", ["run.duration=1s,2s", "seed=1", "duration"])
def test_a_key_to_set_has_one_value(key: str, vmem_command: Callable[..., Result]) -> None:
    ran = vmem_command("plan", EXAMPLES / "fleet.toml", "--slo", SLO, "--set", key)
    assert ran.exit_code == 1 and ran.stderr.startswith("Error: ") and ran.stderr.count("\n") == 1
    assert key in ran.stderr and "accepted" in ran.stderr
