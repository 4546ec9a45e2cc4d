"""Fleets: monitoring data with its dirt, synthetic ones with the statistics asked for, VMs made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import vmem
from vmem.fleet import Synthetic, read_fleet, statistics, synthesize, write_fleet
from vmem.scenario import Scenario
from vmem.timed import TimedRunner

GIB = 1 << 30
S = 10**9
DIRTY = """\ufeffVM, time ,provisioned,used
web,0,4GiB,1GiB
web,60,4GiB,2GiB
db,1min,8589934592,1073741824
web,120,4GiB,5GiB
web,60,4GiB,3GiB
db,0,8GiB,0.5GiB
db,120s,8GiB,
db,180,16GiB,2147483648.0
,180,1GiB,1GiB
db,soon,8GiB,1GiB
db,240,8GiB,-1
db,240,8GiB,nan
db,600,16GiB,1GiB

short
"""


def test_dirt_is_put_right_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "dirty.csv"
    file.write_text(DIRTY)
    fleet = read_fleet(file)
    web, db = fleet.vms
    assert (web.name, web.provisioned, web.times) == ("web", 4 * GIB, (0, 60 * S, 120 * S))
    assert web.used == (GIB, 3 * GIB, 4 * GIB)
    assert (db.name, db.provisioned, db.times) == ("db", 16 * GIB, (0, 60 * S, 180 * S, 600 * S))
    assert db.used == (GIB // 2, GIB, 2 * GIB, GIB)
    dirt = fleet.dirt
    assert (dirt.duplicates, dirt.unordered, dirt.unreadable, dirt.above_provisioned) == (1, 2, 6, 1)
    assert (dirt.gaps, dirt.resized) == (1, 1)
    assert str(dirt).startswith("1 duplicates, 2 unordered, 6 unreadable")
    assert fleet.duration == 600 * S


def test_dates_are_times_and_the_first_is_zero(tmp_path: Path) -> None:
    file = tmp_path / "dates.csv"
    file.write_text(
        "time,used,host,vm,provisioned\n2026-01-01T00:05:00Z,1GiB,h1,a,2GiB\n2026-01-01T01:00:00+01:00,1GiB,h1,b,2GiB\n"
    )
    a, b = read_fleet(file).vms
    assert (a.times, b.times) == ((300 * S,), (0,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "head line"),
        ("vm,time,used\n", "accepted is 'vm,time,provisioned,used'"),
        ("vm,time,provisioned,used\n", "not one row"),
        ("vm,time,provisioned,used\na,x,1,1\n", "not one row"),
        ("vm,time,provisioned,used\n" + '"' + "x" * 200_000, "field larger"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(vmem.ConfigError, match=said):
        read_fleet(file)
    with pytest.raises(vmem.ConfigError, match="No such file"):
        read_fleet(tmp_path / "none.csv")


@pytest.mark.parametrize(("wanted", "seed"), [((5, 2.7, 0.045), 1), ((4, 2, 0.05), 2), ((6, 3.5, 0.04), 3)])
def test_a_synthetic_fleet_has_the_statistics_asked_for(wanted: tuple[float, ...], seed: int) -> None:
    provisioned, peaks, median = wanted
    asked = Synthetic(provisioned_to_peak=provisioned, peaks_to_peak=peaks, used_median=median, seed=seed)
    fleet = synthesize(asked)
    found = statistics(fleet)
    assert found.vms == 40
    assert found.provisioned_to_peak == pytest.approx(provisioned, rel=0.05)
    assert found.peaks_to_peak == pytest.approx(peaks, rel=0.05)
    assert found.used_median == pytest.approx(median, rel=0.05)
    assert fleet == synthesize(asked) != synthesize(Synthetic(seed=seed + 1))


def test_what_cannot_be_is_said() -> None:
    for wrong in ({"vms": 1}, {"peaks_to_peak": 6.0}, {"interval": 24 * 3600 * S}, {"used_median": 0.0}):
        with pytest.raises(vmem.ConfigError, match=next(iter(wrong))):
            synthesize(Synthetic(**wrong))  # type: ignore[arg-type]
    with pytest.raises(vmem.ConfigError, match="cannot be had with the others"):
        synthesize(Synthetic(vms=2, provisioned_to_peak=10, peaks_to_peak=5))


def test_a_fleet_survives_its_file(tmp_path: Path) -> None:
    fleet = synthesize(Synthetic(vms=40, duration=3600 * S, interval=60 * S))
    (tmp_path / "f.csv").write_bytes(write_fleet(fleet))
    assert read_fleet(tmp_path / "f.csv").vms == fleet.vms


FLEET = """
[host]
memory = "2GiB"
[[fleet]]
name = "web"
{}
mmu = "nested"
compute = "10ms"
{}
[run]
duration = "8s"
slowdown = false
steps = 8
"""


def test_vms_use_what_their_curves_say(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(
        "vm,time,provisioned,used\na/1,0,2GiB,512MiB\na/1,40,2GiB,1GiB\nb,20,2GiB,256MiB\nb,60,2GiB,2GiB\n"
    )
    scenario = Scenario.parse(FLEET.format('curves = "f.csv"', "scale = 0.125\nspeed = 10"), base=tmp_path)
    assert [(vm.names[0], vm.memory >> 20, vm.group) for vm in scenario.vms] == [
        ("web-a-1", 256, "web"),
        ("web-b", 256, "web"),
    ]
    used: dict[str, list[int]] = {}
    for row in TimedRunner(scenario).run().timeline:
        used.setdefault(row.vm, []).append(row.guest_used_bytes >> 20)
    base = used["web-b"][1]
    assert [size - base for size in used["web-a-1"]][2:7] == [64, 64, pytest.approx(128, abs=64), 128, 128]
    assert used["web-b"][3] - base == 32
    assert used["web-b"][7] - base == 192  # its kernel needs the rest


@pytest.mark.parametrize(
    ("curves", "more", "said"),
    [
        ("", "", r"fleet\[0\]: .*either curves"),
        ('curves = "none.csv"', "", "none.csv: No such file"),
        ("generate = { vms = 1 }", "", r"fleet\[0\].generate.vms: 1; accepted is a number of VMs from 2"),
        ("generate = { vm = 5 }", "", r"fleet\[0\].generate.vm: unknown key, did you mean 'vms'"),
        ("generate = {}", "count = 2", r"fleet\[0\].count: 2; accepted is nothing"),
        ("generate = {}", "speed = 0", r"fleet\[0\].speed: 0; accepted is a number above 0"),
        ("generate = {}", "swop = 0", r"swop: unknown key, did you mean 'swap'"),
    ],
)
def test_errors_are_one_line(curves: str, more: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(vmem.ConfigError, match=said) as raised:
        Scenario.parse(FLEET.format(curves, more), base=tmp_path)
    assert "\n" not in str(raised.value)
