"""How long an hour of a cluster's host takes: 40 VMs on demand curves, 128 GiB, ESX's policy.

    python bench/fleet.py [--minutes 60]

Process time on one core, of the run alone: the report and its files are not in it.
"""

from __future__ import annotations

import argparse
import time

from vmem.scenario import Scenario
from vmem.timed import TimedRunner

SCENARIO = """
[host]
memory = "128GiB"
swap = "64GiB"
seed = 1

[policy]
name = "esx"

[[fleet]]
name = "vm"
generate = {{ vms = 40, duration = "1h", interval = "30s" }}
swap = "1GiB"

[run]
duration = "{minutes}min"
slowdown = false
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=60, help="of simulated time")
    minutes = parser.parse_args().minutes
    began = time.process_time()
    runner = TimedRunner(Scenario.parse(SCENARIO.format(minutes=minutes)))
    promised = sum(vm.memory for vm in runner.hypervisor) / 2**30
    booted = time.process_time()
    runner.run()
    spent = time.process_time() - booted
    count = len(runner.hypervisor.vms)
    print(f"{count} VMs, {promised:,.0f} GiB promised, on 128 GiB; booted in {booted - began:.1f} s")
    print(f"{minutes} simulated minutes: {spent:.1f} s; asked for: < {minutes} s")


if __name__ == "__main__":
    main()
