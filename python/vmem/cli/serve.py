"""`vmem serve`: a scenario's VMs, each with a QMP socket, in simulated time that passes by the wall clock."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from vmem.cli.common import Interrupted, plain_errors
from vmem.durations import format_duration
from vmem.qmp.pace import Pace, check_rate
from vmem.qmp.server import Server
from vmem.qmp.simulation import Simulation
from vmem.qmp.sockets import Sockets
from vmem.scenario import Scenario

_NAMED = 12
"""So many sockets are named, one by one."""


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory, which must exist, for the sockets: <vm>.qmp for each VM.",
)
@click.option(
    "--rate",
    type=float,
    default=1.0,
    show_default=True,
    help="Simulated seconds in a second of the wall clock.",
)
@plain_errors
def serve(scenario: Path, directory: Path, rate: float) -> None:
    """Run a SCENARIO by the wall clock, each VM with a QMP socket, until all VMs have quit or Ctrl-C.

    Clients of QEMU inflate and watch the VMs' balloons, stop, continue, reset and quit VMs.
    """
    check_rate(rate)
    loaded = Scenario.load(scenario)
    sockets = Sockets(directory, [name for vm in loaded.vms for name in vm.names])
    simulation = Simulation.of(loaded)
    with sockets:
        _announce(sockets, [machine.name for machine in simulation.machines], rate)
        pace = Pace(rate, simulation.host.now)
        server = Server(simulation, sockets, pace, lambda line: click.echo(line, err=True))
        ended = asyncio.run(server.run())
    passed = f"after {format_duration(simulation.host.now)} of simulated time."
    if ended == signal.SIGINT:
        raise Interrupted(passed)
    if ended is not None:
        click.echo(f"Terminated: {passed}", err=True)
        raise SystemExit(128 + ended)
    click.echo(f"All VMs have quit, {passed}")


def _announce(sockets: Sockets, names: list[str], rate: float) -> None:
    """Flushed at once: whoever waits for it may connect."""
    click.echo(f"Serving {len(names)} VMs at rate {rate:g}; Ctrl-C ends it:")
    for name in names[:_NAMED]:
        click.echo(f"  {sockets.path(name)}")
    if len(names) > _NAMED:
        click.echo(f"  ... and {len(names) - _NAMED} more")
