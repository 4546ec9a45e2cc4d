"""`vmem explain`: one access told step by step."""

from __future__ import annotations

from pathlib import Path

import click

from vmem.cli.common import json_option, plain_errors, write_json
from vmem.explain.scenarios import SCENARIOS, run
from vmem.hypervisor import Backing, MmuMode, ShadowSync
from vmem.output import atomic_output
from vmem.scenario import MODES, PAGES
from vmem.scenario.model import SYNCS


@click.command()
@click.option("--scenario", default="first-touch", show_default=True, help="What happens; --list names them.")
@click.option("--list", "show_list", is_flag=True, help="Name the scenarios and end.")
@click.option(
    "--mmu",
    type=click.Choice(MODES),
    default="nested",
    show_default=True,
    help="How addresses are translated.",
)
@click.option(
    "--sync",
    type=click.Choice(SYNCS),
    default="trace",
    show_default=True,
    help="How a shadow is kept in step.",
)
@click.option("--cpu", default="skylake-sp", show_default=True, help="The processor, by name.")
@click.option(
    "--page", type=click.Choice(PAGES), default="4KiB", show_default=True, help="The guest's largest page."
)
@click.option(
    "--backing", type=click.Choice(PAGES), default="4KiB", show_default=True, help="The host's largest page."
)
@click.option(
    "--svg",
    "svg_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the last walk to this file.",
)
@json_option
@plain_errors
def explain(
    scenario: str,
    show_list: bool,
    mmu: MmuMode,
    sync: ShadowSync,
    cpu: str,
    page: str,
    backing: Backing,
    svg_file: Path | None,
    json_file: Path | None,
) -> None:
    """Tell one memory access step by step: lookups, table entries, whose fault it is and why, exits, costs.

    The access is made on a small machine that is set up for it. `#` numbers the references of a page walk;
    [brackets] hold the cycles of a step.
    """
    if show_list:
        for name, scene in SCENARIOS.items():
            click.echo(f"{name:20}{(scene.__doc__ or '').strip()}")
        return
    explanation = run(scenario, mmu, sync=sync, cpu=cpu, page=page, backing=backing)
    click.echo(f"{scenario}: {(SCENARIOS[scenario].__doc__ or '').strip()}")
    click.echo(str(explanation))
    if svg_file is not None:
        with atomic_output(svg_file) as output:
            output.write(explanation.svg().encode())
        click.echo(f"Drew {svg_file}")
    write_json(json_file, {"schema": 1, "scenario": scenario, **explanation.as_dict()})
