"""Wrong scenarios: the message names the file, the key, the value and what is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

import vmem
from vmem.decode import names
from vmem.scenario import MODES, Scenario
from vmem.scenario.model import SYNCS

GOOD = {
    "host": {"memory": '"1GiB"'},
    "vm": {"name": '"a"', "memory": '"256MiB"'},
    "process": {"trace": '"sort"'},
    "run": {"limit": "1000"},
}


def _scenario(changes: dict[str, str | None], table: str) -> str:
    """A good scenario but for some keys of one table; None takes a key out."""
    tables = {name: dict(keys) for name, keys in GOOD.items()}
    for key, value in changes.items():
        tables[table].pop(key, None)
        if value is not None:
            tables[table][key] = value
    heads = {"host": "[host]", "vm": "[[vm]]", "process": "[[vm.process]]", "run": "[run]"}
    return "\n".join(
        f"{heads[name]}\n" + "\n".join(f"{key} = {value}" for key, value in keys.items())
        for name, keys in tables.items()
    )


def _message(text: str, base: Path | None = None) -> str:
    with pytest.raises(vmem.ConfigError) as error:
        Scenario.parse(text, file="my.toml", base=base)
    return str(error.value)


def test_the_good_one_is_good() -> None:
    scenario = Scenario.parse(_scenario({}, "vm"))
    assert scenario.machines == 1 and scenario.run.limit == 1000


VALUES = [
    (
        "host",
        "memory",
        '"lots"',
        "host.memory: 'lots' is not a size; accepted is a number with B",
    ),
    ("host", "memory", "true", "host.memory: True is not a size; accepted are bytes as int, or"),
    ("host", "memory", "-4096", "host.memory: -4096 is negative; a size is zero or more bytes"),
    ("host", "memory", "0", "host.memory: 0; accepted is a multiple of 4 KiB from 1048576 bytes"),
    ("host", "memory", "1048577", "host.memory: 1048577; accepted is a multiple of 4 KiB from"),
    ("host", "cpu", '"i8080"', "host.cpu: 'i8080'; accepted is one of skylake-sp, icelake-sp, "),
    ("host", "cpu", "3", "host.cpu: 3; accepted is the name of a processor"),
    ("host", "seed", "-1", "host.seed: -1; accepted is a number from 0 to 2**63 - 1"),
    ("host", "seed", '"1"', "host.seed: '1'; accepted is a number from 0"),
    ("host", "seed", "1.5", "host.seed: 1.5; accepted is a number from 0"),
    (
        "host",
        "color",
        '"red"',
        "host.color: unknown key. Accepted are memory, swap, swap_dir, swap_read_time, cpu",
    ),
    (
        "vm",
        "memry",
        "1",
        "vm[0].memry: unknown key, did you mean 'memory'? Accepted are name",
    ),
    ("vm", "name", None, "vm[0].name: missing; needed is a name of letters, digits"),
    ("vm", "name", '""', "vm[0].name: ''; accepted is a name of letters, digits, '.', '_' and '-'"),
    ("vm", "name", '"a b"', "vm[0].name: 'a b'; accepted is a name of letters"),
    ("vm", "name", '"../a"', "vm[0].name: '../a'; accepted is a name of letters"),
    (
        "vm",
        "name",
        f'"{"x" * 90}"',
        "x...; accepted is a name of letters, digits, '.', '_'",
    ),
    ("vm", "memory", None, 'vm[0].memory: missing; needed is a size such as "512MiB"'),
    ("vm", "memory", '"4QiB"', "vm[0].memory: '4QiB' is not a size"),
    ("vm", "memory", '"0.3B"', "vm[0].memory: '0.3B' is not a whole number of bytes"),
    (
        "vm",
        "memory",
        '"512KiB"',
        "vm[0].memory: 524288; accepted is a multiple of 4 KiB from 1048576",
    ),
    ("vm", "memory", '"128TiB"', "vm[0].memory: 140737488355328; accepted is at most"),
    ("vm", "count", "0", "vm[0].count: 0; accepted is a number of VMs from 1 to 10,000"),
    ("vm", "count", "true", "vm[0].count: true; accepted is a number of VMs from 1"),
    ("vm", "mmu", '"magic"', f"vm[0].mmu: 'magic'; accepted is {names(MODES)}"),
    ("vm", "mmu", "1", f"vm[0].mmu: 1; accepted is {names(MODES)}"),
    (
        "vm",
        "backing",
        '"8KiB"',
        'vm[0].backing: \'8KiB\'; accepted is "4KiB", "2MiB", "1GiB" or "auto"',
    ),
    ("vm", "sync", '"often"', f"vm[0].sync: 'often'; accepted is {names(SYNCS)}"),
    ("vm", "sync", '"trace"', "vm[0].sync: 'trace'; accepted with mmu = \"shadow\" only"),
    ("vm", "software_tlb", "6", 'vm[0].software_tlb: 6; accepted with mmu = "software-tlb" only'),
    (
        "vm",
        "software_tlb",
        "-4",
        "vm[0].software_tlb: -4; accepted is a number of entries from 0 to 16,777,216",
    ),
    ("vm", "vcpus", "0", "vm[0].vcpus: 0; accepted is a number of vCPUs from 1 to 255"),
    ("vm", "vcpus", "256", "vm[0].vcpus: 256; accepted is a number of vCPUs from 1 to 255"),
    ("vm", "vcpus", '"two"', "vm[0].vcpus: 'two'; accepted is a number of vCPUs from 1 to 255"),
    ("vm", "cpu", '"z80"', "vm[0].cpu: 'z80'; accepted is one of skylake-sp"),
    ("vm", "balloon", "1", "vm[0].balloon: 1; accepted is true or false"),
    (
        "process",
        "trace",
        '"nothing"',
        "process[0].trace: 'nothing'; accepted is a file (there is no",
    ),
    (
        "process",
        "trace",
        '""',
        "process[0].trace: ''; accepted is a shipped trace's name, or a file",
    ),
    ("process", "trace", None, "process[0]: accepted is either a trace or a workload"),
    ("process", "workload", '{ kind = "zipf", size = "1MiB" }', "accepted is either a trace or a workload"),
    ("process", "repeat", "0", "process[0].repeat: 0; accepted is a number of runs from 1"),
    ("process", "page", '"3MiB"', 'process[0].page: \'3MiB\'; accepted is "4KiB", "2MiB"'),
    ("process", "name", '"-"', "process[0].name: '-'; accepted is a name of letters"),
    ("run", "limit", "0", "run.limit: 0; accepted is a number of references from 1"),
    ("run", "limit", '"all"', "run.limit: 'all'; accepted is a number of references from 1"),
    ("run", "steps", "0", "run.steps: 0; accepted is a number of steps from 1 to 100,000"),
    ("run", "duration", '"soon"', "run.duration: 'soon' is not a duration"),
    ("run", "duration", '"1us"', "run.duration: 1000; accepted is from 1 ms"),
    ("run", "slowdown", "1", "run.slowdown: 1; accepted is true or false"),
    ("host", "cpus", "0", "host.cpus: 0; accepted is a number of physical CPUs from 1"),
    ("host", "ghz", "0", "host.ghz: 0; accepted is a frequency"),
    ("host", "quantum", '"1ns"', "host.quantum: 1; accepted is from 1 us to 1 s"),
    ("run", "length", "1", "run.length: unknown key. Accepted are duration, slowdown, limit, steps"),
]


@pytest.mark.parametrize(("table", "key", "value", "expected"), VALUES)
def test_values(table: str, key: str, value: str | None, expected: str) -> None:
    message = _message(_scenario({key: value}, table))
    assert message.startswith("my.toml: ") and expected in message


WORKLOADS = [
    ('"zipf"', 'workload: \'zipf\'; accepted is a table with kind = "zipf", "uniform", "sequential", '),
    ('{ size = "1MiB" }', "workload: {'size': '1MiB'}; accepted is a table with kind = "),
    ('{ kind = "chaos", size = "1MiB" }', 'workload.kind: \'chaos\'; accepted is "zipf", "uniform"'),
    ("{ kind = [], size = 4096 }", 'workload.kind: []; accepted is "zipf"'),
    ('{ kind = "zipf" }', "size: missing; needed is a size"),
    ('{ kind = "zipf", size = 0 }', "size: 0; accepted is a positive multiple of 4 KiB"),
    ('{ kind = "zipf", size = 5000 }', "size: 5000; accepted is a positive multiple of 4 KiB"),
    (
        '{ kind = "zipf", size = "1GiB" }',
        "size: 1073741824; accepted is at most the VM's memory",
    ),
    (
        '{ kind = "zipf", size = "1MiB", skew = 0 }',
        "skew: 0; accepted is an exponent above 0, at most 8",
    ),
    ('{ kind = "zipf", size = "1MiB", skew = nan }', "skew: nan; accepted is an exponent above 0"),
    ('{ kind = "zipf", size = "1MiB", step = 8 }', "step: unknown key"),
    (
        '{ kind = "uniform", size = "1MiB", skew = 1 }',
        "skew: unknown key. Accepted are seed, compute, size, references",
    ),
    (
        '{ kind = "uniform", size = "1MiB", writes = 1.1 }',
        "writes: 1.1; accepted is the share of stores",
    ),
    (
        '{ kind = "uniform", size = "1MiB", writes = "half" }',
        "writes: 'half'; accepted is the share",
    ),
    ('{ kind = "uniform", size = "1MiB", references = 0 }', "references: 0; accepted is a positive"),
    ('{ kind = "uniform", size = "1MiB", seed = -3 }', "seed: -3; accepted is a number from 0"),
    (
        '{ kind = "stride", size = "1MiB", step = "2MiB" }',
        "step: 2097152; accepted is a positive number",
    ),
    (
        '{ kind = "stride", size = "1MiB", step = 0 }',
        "step: 0; accepted is a positive number of bytes",
    ),
]


@pytest.mark.parametrize(("workload", "expected"), WORKLOADS)
def test_workloads(workload: str, expected: str) -> None:
    message = _message(_scenario({"trace": None, "workload": workload}, "process"))
    assert message.startswith("my.toml: vm[0].process[0].workload")
    assert expected in message


VM = '[[vm]]\nname = "a"\nmemory = "1MiB"'
WHOLES = [
    ("", "vm: missing; needed is one or more tables [[vm]]"),
    ("vm = 3", "vm: 3; accepted is one or more tables, each after [[vm]]"),
    ("vm = []", "vm: []; accepted is one or more tables, each after [[vm]]"),
    ("vm = [1]", "vm[0]: 1; accepted is a table with name, memory, group, count"),
    ("host = 1\nvm = []", "host: 1; accepted is a table with memory, swap, swap_dir"),
    ("[polices]", "polices: unknown key, did you mean 'policy'? Accepted are host, policy, vm, fleet,"),
    ("[[flet]]", "flet: unknown key, did you mean 'fleet'?"),
    (
        '[[vm]]\nname = "a"\nmemory = "1MiB"',
        "vm[0].process: missing; needed is one or more tables [[vm.process]]",
    ),
    (
        '[[vm]]\nname = "a"\nmemory = "1MiB"\nprocess = 1',
        "vm[0].process: 1; accepted is one or more tables, each after [[vm.process]]",
    ),
    ("[[vm]\n", "not TOML: Expected ']]' at the end of an array declaration (at line 1"),
    ("[host]\nmemory = 1\nmemory = 2", "not TOML: Cannot overwrite a value (at "),
]


@pytest.mark.parametrize(("text", "expected"), WHOLES)
def test_wholes(text: str, expected: str) -> None:
    message = _message(text)
    assert message.startswith("my.toml: ") and expected in message


def _two(first: dict[str, str], second: dict[str, str]) -> str:
    vms = ({"name": '"a"', "memory": '"1MiB"'} | first, {"name": '"b"', "memory": '"1MiB"'} | second)
    return "\n".join(
        "[[vm]]\n"
        + "\n".join(f"{key} = {value}" for key, value in vm.items())
        + '\n[[vm.process]]\ntrace = "sort"'
        for vm in vms
    )


def test_the_second_table_is_named() -> None:
    assert _message(_two({}, {"vcpus": "0"})).startswith("my.toml: vm[1].vcpus: 0;")


def test_names_are_taken_once() -> None:
    expected = "my.toml: vm[1].name: 'a' gives a second VM 'a'; accepted is a new name"
    assert _message(_two({}, {"name": '"a"'})) == expected
    copies = _two({"count": "3"}, {"name": '"a-2"'})
    assert _message(copies) == "my.toml: vm[1].name: 'a-2' gives a second VM 'a-2'; accepted is a new name"


def test_native_machines_have_no_balloon() -> None:
    text = _two({"mmu": '"native"', "balloon": "true"}, {})
    assert _message(text).startswith("my.toml: vm[0].balloon: true; accepted with a hypervisor")
    Scenario.parse(text.replace("true", "false"))


def test_native_machines_must_fit() -> None:
    text = '[host]\nmemory = "10MiB"\n' + _two({"mmu": '"native"', "memory": '"6MiB"', "count": "2"}, {})
    expected = (
        "host.memory: 10485760 bytes; accepted is at least what the native machines own, 12582912 bytes"
    )
    assert expected in _message(text)
    Scenario.parse(text.replace('"native"', '"nested"'))


def test_damaged_trace(tmp_path: Path) -> None:
    (tmp_path / "t.vmt").write_bytes(b"not a trace")
    message = _message(_scenario({"trace": '"t.vmt"'}, "process"), tmp_path)
    assert message.startswith(
        f"my.toml: vm[0].process[0].trace: {tmp_path / 't.vmt'}: named like the format 'vmt'"
    )


def test_files(tmp_path: Path) -> None:
    with pytest.raises(vmem.ConfigError, match=r"none\.toml: No such file or directory; accepted is"):
        Scenario.load(tmp_path / "none.toml")
    with pytest.raises(vmem.ConfigError, match=r"Is a directory; accepted is a scenario, a TOML file"):
        Scenario.load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(vmem.ConfigError, match=r"latin\.toml: not UTF-8 text \(at byte 2\)"):
        Scenario.load(tmp_path / "latin.toml")


def test_traces_are_sought_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "t.trace").write_text("1000 R\n2000 W\n")
    path = tmp_path / "s.toml"
    path.write_text(_scenario({"trace": '"t.trace"'}, "process"))
    assert Scenario.load(path).traces["t.trace"].references == 2
