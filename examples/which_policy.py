"""Which policy for this load? The same three VMs, whose needs move, under each policy.

Run it with: python examples/which_policy.py [SCENARIO.toml] [KEY=VALUE…]

Keys are those of `vmem sweep --grid`: `ratio=1.5`, `run.duration=60s`.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from vmem.policies import POLICIES
from vmem.sweep.grid import Base, parse_grid
from vmem.sweep.spread import Spread


def main(path: Path, keys: list[str]) -> None:
    spread = Spread(Base.read(path), lambda: ProcessPoolExecutor(mp_context=get_context("spawn")))
    outcomes = spread.outcomes(parse_grid([f"policy=none,{','.join(POLICIES)}", *keys]))
    spread.close()
    print(
        f"{'policy':8} {'stall':>7} {'worst VM':>9} {'worst step':>11} {'host swap':>10} {'guest swap':>11}"
    )
    good = [outcome for outcome in outcomes if outcome.error is None]
    for outcome in good:
        n = outcome.numbers
        name = outcome.settings["policy"]
        print(
            f"{name:8} {n['stall']:7.2%} {n['stall_worst']:9.2%} {n['stall_peak']:11.1%} "
            f"{n['host_swapped_in']:10,} {n['guest_swapped_in']:11,}"
        )
    lost = [outcome.settings["policy"] for outcome in good if outcome.numbers["vms_killed"]]
    ranked = sorted(
        (outcome for outcome in good if not outcome.numbers["vms_killed"]),
        key=lambda outcome: outcome.numbers["stall"],
    )
    best, worst = ranked[0], ranked[-1]
    name, stall = best.settings["policy"], best.numbers["stall"]
    without = next((o.numbers["stall"] for o in ranked if o.settings["policy"] == "none"), None)
    advice = "leave it to the host's own swap" if name == "none" else f"use {name!r}"
    gain = f", {1 - stall / without:.0%} less than without a policy" if name != "none" and without else ""
    print(
        f"\nOn this load {advice}: VMs wait {stall:.2%} of their time{gain}; worst is "
        f"{worst.settings['policy']!r} with {worst.numbers['stall']:.2%}"
        + (f"; {', '.join(lost)} lost a VM." if lost else ".")
    )


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if "=" not in word]
    path = Path(given[0]) if given else Path(__file__).with_name("which_policy.toml")
    main(path, [word for word in sys.argv[1:] if "=" in word])
