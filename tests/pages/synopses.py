"""Lines of usage in the reference of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from vmem.cli import main


def disagreements(code: str) -> list[str]:
    """What a block of usage names and the command does not have; one message each."""
    return [message for line in code.splitlines() for message in _line(line)]


def _line(line: str) -> Iterator[str]:
    context = click.Context(main)
    words = line.split()
    command: click.Command | None = main if words.pop(0) == "vmem" else None
    while isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0)) if words else None
    if command is None:
        yield f"{line}: no such command"
        return
    options = {name: each for each in command.params for name in each.opts if isinstance(each, click.Option)}
    for option, value in re.findall(r"(?<!\S)\[?(--?[a-z][\w-]*)( [A-Z])?", " ".join(words)):
        if option not in options:
            yield f"{line}: no {option}"
        elif options[option].is_flag == bool(value):
            yield f"{line}: {option} {'takes no value' if value else 'takes a value'}"
