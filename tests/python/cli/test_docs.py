"""The documents are true: names, numbers and claims in them are held against the program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import Result

import vmem
from vmem import _core, cli, measures
from vmem.policies import POLICIES, PolicyRow
from vmem.rows import TIMELINE
from vmem.scenario import MODES, Host, Process, Run, Scenario, Vm
from vmem.scenario.fleet import FleetTable
from vmem.scenario.policy import COMMON
from vmem.scenario.workloads import KINDS
from vmem.sweep.answers import MEANING
from vmem.traces import FORMATS, WRITABLE, shipped

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"


def _rows(text: str, start: str = "") -> list[list[str]]:
    """The cells of the first table after `start`, its head left out; back-quotes taken off."""
    lines = iter(text[text.index(start) :].splitlines())
    table = []
    for line in lines:
        if line.startswith("|"):
            table.append([cell.strip().strip("`") for cell in line.strip("|").split(" |")])
        elif table:
            break
    return table[2:]


def _tables(text: str) -> list[list[str]]:
    """The rows of all tables."""
    return [row for part in re.split(r"\n#+ ", text) if "\n|" in part for row in _rows(part)]


def _read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_counter_is_documented() -> None:
    sections = _read("reference/counters.md").split("\n## ")[1:6]
    names = [row[0] for section in sections for row in _rows(section)]
    counters = vmem.Hypervisor("64MiB").create_vm("vm", memory="1MiB").counters()
    assert names == [*dict.fromkeys(names)]
    assert set(names) == set(counters)


def test_every_cause_and_rate_is_documented() -> None:
    text = _read("reference/counters.md")
    counters = vmem.Hypervisor("64MiB").create_vm("vm", memory="1MiB").counters()
    assert [row[0] for row in _rows(text, "| cause |")] == list(measures.CAUSES)
    assert [row[0] for row in _rows(text, "## Rates")] == list(measures.rates(counters))


def test_formulas_of_causes() -> None:
    """The formulas as written, over numbers that no other formula fits."""
    counters = vmem.Hypervisor("64MiB").create_vm("vm", memory="1MiB").counters()
    counters = {name: 1009 + 37 * i * i for i, name in enumerate(counters)}
    costs = {name: 11 + i * i for i, name in enumerate(_core.COSTS)}
    expected = measures.cycles_by_cause(counters, costs)
    for cause, formula in _rows(_read("reference/counters.md"), "| cause |"):
        if cause == "exit":
            assert formula == "the sum of all `exits.*`, × `exit"
            continue
        terms = [term.split(" × ") for term in formula.split(" + ")]
        assert sum(counters[counter] * costs[cost] for counter, cost in terms) == expected[cause], cause


def test_every_cost_is_documented() -> None:
    rows = _rows(_read("reference/costs.md"))
    documented = {name: (int(cycles.replace(",", "")), per, source) for name, cycles, per, source in rows}
    assert documented == _core.COSTS


def _commands(group: click.Group, path: str) -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found[f"{path} {name}"] = command
    return found


def test_every_command_and_option_is_documented() -> None:
    text = _read("reference/cli.md")
    for name, (module, line) in cli.COMMANDS.items():
        command = getattr(import_module(module), name)
        section = text[text.index(f"\n## vmem {name}\n") :].split("\n## ")[1]
        assert line
        commands = {f"vmem {name}": command}
        if isinstance(command, click.Group):
            commands = _commands(command, f"vmem {name}")
        for path, each in commands.items():
            assert f"    {path}" in section, path
            for parameter in each.params:
                for option in parameter.opts if isinstance(parameter, click.Option) else []:
                    assert f"`{option}" in section or f"`{option} " in section, (path, option)


def test_keys_of_the_summary_are_documented() -> None:
    text = _read("reference/cli.md")
    assert tuple(row[0] for row in _rows(text, "### timeline.csv")) == TIMELINE
    documented = set(
        re.findall(r"`([a-z_]+)`", text[text.index("### summary.json") : text.index("### timeline")])
    )
    result = vmem_summary()
    keys = {*result, *result["host"], *result["vms"][0], *result["vms"][0]["processes"][0]}
    assert keys <= documented


def vmem_summary() -> dict[str, dict[str, object]]:
    from vmem.runner import Runner

    text = '[[vm]]\nname = "a"\nmemory = "1MiB"\n[[vm.process]]\ntrace = "sort"\n[run]\nlimit = 10\n'
    return Runner(Scenario.parse(text)).run().summary


@pytest.mark.parametrize(
    ("heading", "table"), [("[host]", Host), ("[[vm]]", Vm), ("[[vm.process]]", Process), ("[run]", Run)]
)
def test_keys_of_scenarios_are_documented(heading: str, table: type[msgspec.Struct]) -> None:
    rows = _rows(_read("guides/scenarios.md"), f"\n## {heading}\n")
    assert {row[0] for row in rows} == {field.encode_name for field in msgspec.structs.fields(table)}


def test_policies_and_fleets_are_documented() -> None:
    rows = _rows(_read("guides/scenarios.md"), "\n## [policy]\n")
    assert tuple(row[0] for row in rows) == COMMON
    assert re.findall(r'"([a-z]+)"', rows[0][2]) == list(POLICIES)
    assert [row[0] for row in _rows(_read("guides/policies.md"), "| name | interval |")] == list(POLICIES)
    fleet = _rows(_read("guides/scenarios.md"), "\n## [[fleet]]\n")
    assert tuple(row[0] for row in fleet) == FleetTable.__struct_fields__
    (text,) = re.findall(r"```toml\n(.*?)```", _read("guides/policies.md"), re.DOTALL)
    assert Scenario.parse(text).policy is not None


def test_answers_of_sweeps_are_documented() -> None:
    rows = _rows(_read("reference/cli.md"), "`policy.tax` or `vm.0.swap`")
    assert {row[0]: row[1] for row in rows[:-1]} == MEANING
    columns = _rows(_read("reference/cli.md"), "\n### policy.csv\n")
    assert [name for row in columns for name in row[0].replace("`", "").split(", ")] == list(
        PolicyRow.__struct_fields__
    )


def test_example_own_policy() -> None:
    printed = _example("own_policy.py")
    idle, busy = (int(found) for found in re.findall(r": (\d+) of 640 MiB", printed))
    assert idle < busy and printed.endswith(", 0 incidents\n")


def test_modes_are_documented() -> None:
    row = next(row for row in _rows(_read("guides/scenarios.md"), "\n## [[vm]]\n") if row[0] == "mmu")
    assert tuple(re.findall(r'"([a-z-]+)"', row[2])) == MODES


def test_workloads_are_documented() -> None:
    text = _read("guides/scenarios.md")
    keys = {field.encode_name for kind in KINDS.values() for field in msgspec.structs.fields(kind)}
    assert {row[0] for row in _rows(text, "\n## workload\n")} == keys | {"kind"}
    assert [row[0] for row in _rows(text, "| kind | addresses |")] == list(KINDS)


def test_scenario_of_the_guide_is_good() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", _read("guides/scenarios.md"), re.DOTALL)
    scenario = Scenario.parse(text)
    assert scenario.machines == 3 and {vm.mmu for vm in scenario.vms} == {"native", "nested"}


def test_trace_formats_are_documented() -> None:
    rows = _rows(_read("guides/traces.md"), "\n## Formats\n")
    assert [row[0] for row in rows] == list(FORMATS)
    assert {row[0] for row in rows if row[3] == "yes"} == set(WRITABLE)


def test_shipped_traces_are_documented() -> None:
    rows = _rows(_read("guides/traces.md"), "\n## Shipped traces\n")
    assert {name: int(pages.replace(",", "")) for name, _, pages in rows} == {
        name: vmem.Trace.open(path).pages() for name, path in shipped().items()
    }


def test_readme_begins_with_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[0].splitlines()
    assert commands == ["pip install '.[report]' && vmem run", "pip install '.[test]' && pytest"]


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


def test_pictures_are_small() -> None:
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size <= 300_000, picture.name


def _example(name: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_example_first_steps() -> None:
    printed = _example("first_steps.py")
    assert "read back: b'hello'" in printed
    assert "second round: 16,384 references" in printed and ", 0 guest faults, 0 VM exits" in printed


def test_example_native_vs_nested() -> None:
    lines = _example("native_vs_nested.py", "bfs").splitlines()
    assert lines[0].startswith("bfs: ") and len(lines) == 7
    native, _, small, mixed, large = (float(line.split()[-1]) for line in lines[2:])
    assert large < native <= mixed < small


def test_example_tlb_reach() -> None:
    rows = [line.split() for line in _example("tlb_reach.py").splitlines()[2:]]
    misses = {int(row[0]): [float(cell) for cell in row[2:]] for row in rows}
    # 1,536 entries reach 6 MiB with 4 KiB pages, 3 GiB with 2 MiB pages.
    assert misses[4][0] == 0 < misses[16][0]
    assert misses[1024][1] == 0 < misses[4096][1]
    assert misses[4096][2] == 0


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_layout_of_guest_memory(tmp_path: Path) -> None:
    """Every offset and length of the page, asserted by a compiler over the header."""
    text = _read("reference/guest-memory.md")
    claims = []
    for structure in (
        "BootInfo",
        "Zone",
        "FreeArea",
        "LruList",
        "SwapArea",
        "SwapSlot",
        "PerCpuPages",
        "Page",
    ):
        for field, offset, length, _ in _rows(text, f"\n## `{structure}`"):
            claims.append(f"static_assert(offsetof({structure}, {field}) == {offset});")
            claims.append(f"static_assert(sizeof({structure}::{field}) == {length});")
    constants = {
        "BootInfo::kAt.value": re.search(r"`BootInfo`, at gPA (0x\w+)", text),
        "Zone::kAt.value": re.search(r"`Zone`, at gPA (0x\w+)", text),
        "LruList::kAt.value": re.search(r"`LruList`, at gPA (0x\w+)", text),
        "SwapArea::kAt.value": re.search(r"`SwapArea`, at gPA (0x\w+)", text),
        "PerCpuPages::kAt.value": re.search(r"`PerCpuPages`, at gPA (0x\w+)", text),
        "kPageArray.value": re.search(r"The page array begins at gPA (0x\w+)", text),
        "BootInfo::kMagic": re.search(r"(0x\w+), the bytes \"VMGUEST1\"", text),
        "sizeof(Page)": re.search(r"`slot` \| 28.*?An entry is (\d+) bytes", text, re.DOTALL),
        "kMaxOrder": re.search(r"blocks of order 0 to (\d+)", text),
        "(kMinimumMemory >> 20)": re.search(r"at least (\d+) MiB", text),
    }
    for name, found in constants.items():
        assert found, name
        claims.append(f"static_assert({name} == {found[1]});")
    assert int.from_bytes(b"VMGUEST1", "little") == 0x3154534555474D56
    source = tmp_path / "layout.cpp"
    source.write_text(
        '#include <cstddef>\n#include "guest/layout.hpp"\nusing namespace vmem::guest;\n' + "\n".join(claims)
    )
    command = ["c++", "-std=c++20", "-fsyntax-only", f"-I{ROOT / 'csrc'}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commands_of_whose_fault_show_what_the_text_says(vmem_command: Callable[..., Result]) -> None:
    """Every command runs, and what the answers promise is in its output."""
    text = _read("guides/whose-fault.md")
    said: dict[str, str] = {}
    for command in re.findall(r"^vmem (explain .*)$", text, re.MULTILINE):
        result = vmem_command(*command.split())
        assert result.exit_code == 0, (command, result.output)
        said[command] = result.output
    assert len(said) >= 11
    explain = "explain --scenario {} --mmu {}".format
    assert "VM exit cr3_write" in said[explain("cr3-switch", "shadow")]
    assert "VM exit cr3_write" not in said[explain("cr3-switch", "nested")]
    assert "SIGSEGV" in said[explain("segmentation-fault", "shadow")]
    assert "a true fault" in said[explain("first-touch", "shadow")]
    assert "VM exit page_table_write" in said[explain("page-table-write", "shadow --sync trace")]
    assert "VM exit page_table_write" not in said[explain("page-table-write", "shadow --sync vtlb")]
    for mmu in ("nested", "shadow"):
        assert "a hidden fault" in said[explain("host-swap", mmu)]
        assert "us for the disk" in said[explain("host-swap", mmu)]
    assert "VM exit" not in said[explain("second-touch", "nested")]
    violations = [
        said[explain(what, "nested")].count("VM exit ept_violation") for what in ("ballooned", "unmapped")
    ]
    assert violations[0] > violations[1] == 0
