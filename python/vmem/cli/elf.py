"""`vmem run --elf`: a real program on a machine of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from rich.console import Console

from vmem import measures
from vmem.cli.common import Interrupted, write_json
from vmem.cli.tables import print_run
from vmem.hypervisor import Backing, Hypervisor, MmuMode, ShadowSync, Vm
from vmem.report.view import Shown
from vmem.scenario import MODES, PAGES
from vmem.scenario.model import SYNCS
from vmem.sizes import parse_size

if TYPE_CHECKING:
    from vmem.integrations.unicorn import Program

SCHEMA = 1
"""Of the JSON: grows when a key changes its meaning or goes away."""

NAMES = ("mode", "sync", "cpu", "backing", "page", "memory", "host_memory")


class Wanted(NamedTuple):
    """The machine that the program runs on."""

    mode: MmuMode
    sync: ShadowSync
    cpu: str
    backing: Backing
    page: str
    memory: str
    host_memory: str | None


def elf_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that go with `--elf`."""
    page = click.Choice(PAGES)
    options = (
        click.option(
            "--elf",
            "program",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            metavar="PROGRAM",
            help="Run this statically linked program with ARGS instead of a scenario.",
        ),
        click.option("--mode", type=click.Choice(MODES), default="nested", help="With --elf: the MMU."),
        click.option(
            "--sync",
            type=click.Choice(SYNCS),
            default="trace",
            help="With --elf: how a shadow keeps in step.",
        ),
        click.option("--cpu", default="skylake-sp", help="With --elf: the processor, by name."),
        click.option("--backing", type=page, default="4KiB", help="With --elf: the host's largest page."),
        click.option(
            "--page", type=page, default="4KiB", help="With --elf: the largest page of what it maps."
        ),
        click.option("--memory", default="256MiB", help="With --elf: the guest's memory."),
        click.option(
            "--host-memory", help="With --elf: the host's, which may be less; if not given, twice as much."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def run_elf(
    program: Path, arguments: Sequence[str], wanted: Wanted, limit: int | None, json_file: Path | None
) -> int:
    """Runs it with the standard streams of this process, prints its tables; its exit status."""
    from vmem.integrations.unicorn import Program

    host, vm = _machine(wanted)
    running = Program(
        vm.guest.spawn(program.name),
        program,
        arguments,
        stdin=sys.stdin.buffer,
        stdout=sys.stdout.buffer,
        stderr=sys.stderr.buffer,
        page=wanted.page,
    )
    try:
        status = running.run(limit)
    except KeyboardInterrupt:
        raise Interrupted(f"after {running.cpu.instructions:,} instructions.") from None
    finally:
        sys.stdout.buffer.flush()
    how = running.end if status is not None else "stopped by --limit"
    click.echo(f"\n{program}: {how} after {running.cpu.instructions:,} instructions\n")
    print_run([_shown(host, vm, wanted, program.name)], Console(highlight=False))
    for number in running.unknown_calls:
        click.echo(f"Warning: system call {number} does not exist here: the program got ENOSYS", err=True)
    write_json(json_file, _numbers(host, vm, wanted, running, [str(program), *arguments]))
    return status or 0


def _machine(wanted: Wanted) -> tuple[Hypervisor, Vm]:
    memory = parse_size(wanted.memory, "--memory")
    machine = 2 * memory if wanted.host_memory is None else parse_size(wanted.host_memory, "--host-memory")
    host = Hypervisor(machine, swap=0 if wanted.mode == "native" else memory, cpu=wanted.cpu)
    vm = host.create_vm("vm", memory=memory, mmu=wanted.mode, backing=wanted.backing, sync=wanted.sync)
    return host, vm


def _shown(host: Hypervisor, vm: Vm, wanted: Wanted, name: str) -> Shown:
    counters, time = vm.counters(), vm.time()
    return Shown(
        label=vm.name,
        group=vm.name,
        mmu=vm.mmu,
        sync=wanted.sync if vm.mmu == "shadow" else None,
        backing=wanted.backing,
        programs=(name,),
        references=counters["accesses"],
        counters=counters,
        rates=measures.rates(counters),
        cycles_by_cause=measures.cycles_by_cause(counters, host.costs),
        memory=vm.memory,
        vcpus=1,
        resident=vm.resident,
        running=time.running,
        waiting=time.waiting,
        runnable=time.runnable,
        passed=host.now,
        outcome=None,
        slowdown=None,
        rows=(),
    )


def _numbers(
    host: Hypervisor, vm: Vm, wanted: Wanted, running: Program, command: list[str]
) -> dict[str, Any]:
    counters = vm.counters()
    return {
        "schema": SCHEMA,
        "command": command,
        **wanted._asdict(),
        "status": running.status,
        "end": running.end,
        "instructions": running.cpu.instructions,
        "accesses": running.cpu.accesses,
        "unknown_calls": running.unknown_calls,
        "elapsed_ns": host.now,
        "resident_bytes": vm.resident,
        "host_stat": host.stat(),
        "vmstat": vm.guest.vmstat(),
        "rates": measures.rates(counters),
        "cycles_by_cause": measures.cycles_by_cause(counters, host.costs),
        "counters": counters,
    }
