"""`vmem plan`: the highest overcommit ratio that keeps an objective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from vmem.cli.common import Interrupted, LateBar, json_option, plain_errors, write_json
from vmem.cli.sweep import cell, dask_option, workers_of, workers_option
from vmem.errors import ConfigError
from vmem.sweep.executors import Workers
from vmem.sweep.grid import Base, Settings, parse_grid
from vmem.sweep.objective import Objective, parse_objectives
from vmem.sweep.plan import CONFIDENCE, Plan, keeps, search
from vmem.sweep.point import Outcome
from vmem.sweep.spread import Spread


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--slo", required=True, metavar="OBJECTIVE", help="Such as 'stall<1%'; several with commas.")
@click.option("--policy", "policy", metavar="NAME", help="Under this policy, rather than the scenario's.")
@click.option("--set", "keys", metavar="KEY=VALUE", multiple=True, help="Set a key of the scenario first.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Runs of a ratio.")
@click.option(
    "--least", type=click.FloatRange(0.05, 100), default=1.0, show_default=True, help="First ratio."
)
@click.option("--most", type=click.FloatRange(0.05, 100), default=4.0, show_default=True, help="Last ratio.")
@click.option("--step", type=click.FloatRange(0.001, 10), default=0.1, show_default=True, help="Between two.")
@workers_option
@dask_option
@json_option
@plain_errors
def plan(
    scenario: Path,
    slo: str,
    policy: str | None,
    keys: tuple[str, ...],
    seeds: int,
    least: float,
    most: float,
    step: float,
    workers: int | None,
    dask_address: str | None,
    json_file: Path | None,
) -> None:
    """Search the highest overcommit ratio at which a SCENARIO keeps an objective.

    The ratio is the memory promised to VMs to that of the host, which is made smaller and smaller. Every
    ratio runs with several seeds, and all of them have to keep it.
    """
    if most < least:
        raise ConfigError(f"--most {most}: accepted is at least --least, {least}")
    objectives = parse_objectives(slo)
    base = Base.read(scenario)
    chosen = _chosen(policy, keys)
    first = base.scenario(chosen).host.seed
    runs: list[Settings] = [{**chosen, "seed": first + i} for i in range(seeds)]
    ratios = [round(least + i * step, 6) for i in range(int((most - least) / step + 1e-9) + 1)]
    base.scenario({**runs[0], "ratio": ratios[0]})
    found = _search(base, ratios, runs, objectives, workers_of(workers, dask_address))
    console = Console(highlight=False)
    _print(found, objectives, console)
    write_json(json_file, _numbers(found, objectives))
    console.print(sentence(found, objectives, ratios))


def _chosen(policy: str | None, keys: Sequence[str]) -> Settings:
    """What all runs have in common. ConfigError unless each key has one value, and is not searched over."""
    grid = parse_grid(keys)
    if len(grid) > 1 or any(key in ("policy", "ratio", "seed") for key in grid[0]):
        raise ConfigError(
            f"--set {' '.join(keys)}: accepted are paths, each with one value, such as run.duration=60s"
        )
    return grid[0] if policy is None else {"policy": policy, **grid[0]}


def _search(
    base: Base,
    ratios: list[float],
    runs: list[Settings],
    objectives: list[Objective],
    workers: Workers,
) -> Plan:
    spread = Spread(base, workers.make, width=workers.width)
    rounds = len(ratios).bit_length()
    made = 0
    try:
        with LateBar("searching", unit="runs", patience=0.5) as bar:

            def run(settings: Sequence[Settings]) -> list[Outcome]:
                nonlocal made
                outcomes = spread.outcomes(
                    settings, lambda done, total: bar(made + done, max(rounds * len(runs), made + total))
                )
                made += len(outcomes)
                return outcomes

            return search(ratios, runs, objectives, run)
    except KeyboardInterrupt:
        raise Interrupted(f"after {made} runs; nothing was found out.") from None
    finally:
        spread.close()


def _print(found: Plan, objectives: list[Objective], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("ratio", "kept", *(f"{objective.name}: median … worst" for objective in objectives)):
        table.add_column(head, justify="right")
    for ratio, outcomes in sorted(found.tried.items()):
        kept = sum(keeps(outcome, objectives) for outcome in outcomes)
        table.add_row(
            f"{ratio:.2f}",
            f"{kept} of {len(outcomes)}",
            *(_span(outcomes, objective) for objective in objectives),
        )
    console.print(table)


def _span(outcomes: list[Outcome], objective: Objective) -> str:
    good = [
        outcome
        for outcome in outcomes
        if outcome.error is None and outcome.numbers[objective.name] is not None
    ]
    if not good:
        return next((outcome.error or "" for outcome in outcomes), "")[:60] or "-"
    good.sort(key=lambda outcome: outcome.numbers[objective.name], reverse=">" in objective.comparison)
    middle, worst = cell(objective.name, good[len(good) // 2]), cell(objective.name, good[-1])
    return middle if len(good) == 1 else f"{middle} … {worst}"


def sentence(found: Plan, objectives: list[Objective], ratios: list[float]) -> str:
    """What an operator takes away."""
    wanted = ", ".join(map(str, objectives))
    if found.ratio is None:
        return f"Not even a ratio of {ratios[0]:.2f} keeps {wanted}."
    seeds = len(found.tried[found.ratio])
    edge = (
        f"at {found.limit:.2f} it no longer does"
        if found.limit is not None
        else f"{ratios[-1]:.2f} is the highest that was allowed"
    )
    return (
        f"Overcommit up to {found.ratio:.2f} keeps {wanted} in {seeds} of {seeds} runs; {edge}. With "
        f"{CONFIDENCE:.0%} confidence at least {found.certainty:.0%} of loads like these keep it."
    )


def _numbers(found: Plan, objectives: list[Objective]) -> dict[str, object]:
    return {
        "ratio": found.ratio,
        "breaks_at": found.limit,
        "objectives": [str(objective) for objective in objectives],
        "certainty": found.certainty,
        "tried": [
            {
                "ratio": ratio,
                "seed": outcome.settings["seed"],
                "kept": keeps(outcome, objectives),
                "error": outcome.error,
                "numbers": outcome.numbers,
            }
            for ratio, outcomes in sorted(found.tried.items())
            for outcome in outcomes
        ],
    }
