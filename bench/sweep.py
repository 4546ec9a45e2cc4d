"""How busy a sweep keeps the processors: 64 runs on all of them.

    python bench/sweep.py [--seeds 4]

Printed is the processor time of the workers, their start included, to the time that passed on all processors;
and the share of that time in which a run was under way. The first is what is asked for; where others use the
machine too, only the second can be judged.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from vmem.sweep.executors import processes
from vmem.sweep.grid import Base, parse_grid
from vmem.sweep.spread import Spread

SCENARIO = """
[host]
memory = "1GiB"
swap = "2GiB"
[[vm]]
name = "vm"
count = 3
memory = "640MiB"
[[vm.process]]
workload = { kind = "demand", compute = "100us", curve = [
  ["0s", "520MiB", "400MiB"],
  ["30s", "520MiB", "20MiB"],
] }
[run]
duration = "60s"
slowdown = false
steps = 20
"""
POLICIES = ("none", "esx", "mom", "psi")
RATIOS = (1.2, 1.5, 1.8, 2.1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=4, help="runs of each policy and ratio")
    seeds = parser.parse_args().seeds
    axes = [f"policy={','.join(POLICIES)}", f"ratio={','.join(map(str, RATIOS))}", f"seed=1..{seeds}"]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "scenario.toml"
        path.write_text(SCENARIO)
        base = Base.read(path)
        workers = processes(None)
        began = time.monotonic()
        executor = workers.make()
        outcomes = Spread(base, lambda: executor, width=workers.width).outcomes(parse_grid(axes))
        passed = time.monotonic() - began
        executor.shutdown()  # only those that have ended are counted
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = os.cpu_count() or 1
    seconds = [outcome.seconds for outcome in outcomes]
    print(
        f"{len(outcomes)} runs of {min(seconds):.2f} to {max(seconds):.2f} s on {cores} processors: "
        f"{passed:.1f} s"
    )
    used = children.ru_utime + children.ru_stime
    print(f"processor time: {used / (passed * cores):.1%} of all processors'; asked for: >= 90%")
    print(f"a run was under way: {sum(seconds) / (passed * cores):.1%}")


if __name__ == "__main__":
    main()
