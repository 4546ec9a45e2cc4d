"""The command line. Each command is imported when it is used, so that help is quick."""

from __future__ import annotations

from importlib import import_module

import click

from vmem import __version__

COMMANDS = {
    "run": ("vmem.cli.run", "Run a scenario: virtual machines on a host; no argument runs the built-in one."),
    "sweep": ("vmem.cli.sweep", "Run a scenario on a grid: policies, overcommit ratios, seeds, any key."),
    "plan": ("vmem.cli.plan", "Search the highest overcommit ratio that keeps an objective."),
    "compare": ("vmem.cli.compare", "Run one trace in every MMU mode, side by side."),
    "explain": ("vmem.cli.explain", "Tell one memory access step by step, with the reasons."),
    "serve": ("vmem.cli.serve", "Run a scenario by the wall clock, with a QMP socket for each VM."),
    "trace": ("vmem.cli.trace", "Look at, convert and record memory traces."),
}
"""Name → (module, which has the command under the same name; the first line of its help)."""


class LazyGroup(click.Group):
    """Commands by name without importing them; Ctrl-C ends with a message and exit status 130."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            click.echo(
                f"\nInterrupted: {interrupt.args[0]}" if interrupt.args else "\nInterrupted.", err=True
            )
            ctx.exit(130)


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="vmem")
def main() -> None:
    """vmem simulates memory virtualization: TLBs, page walks in one and two dimensions, faults, VM exits."""
