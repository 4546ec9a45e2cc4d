"""Zones, watermarks, available memory: Linux's formulas, worked out anew, and a real guest's numbers."""

from __future__ import annotations

import math

import pytest

import vmem

PAGE = 4096
ZONE_ENDS = {"DMA": 16 << 20, "DMA32": 4 << 30, "Normal": 1 << 60}


def _guest(memory: int, vcpus: int = 1) -> vmem.Guest:
    return vmem.Hypervisor("128GiB", seed=1).create_vm("vm", memory=memory, vcpus=vcpus).guest


def _first_frame(memory: int) -> int:
    """After the page array: 32 bytes a frame from 64 KiB on."""
    return 16 + math.ceil(memory // PAGE * 32 / PAGE)


def _managed(memory: int) -> dict[str, int]:
    first, last, managed = _first_frame(memory) * PAGE, 0, {}
    for name, end in ZONE_ENDS.items():
        frames = (min(memory, end) - max(first, last)) // PAGE
        if frames > 0:
            managed[name] = frames
        last = end
    return managed


def _watermarks(managed: dict[str, int]) -> dict[str, tuple[int, int, int]]:
    """init_per_zone_wmark_min, set_recommended_min_free_kbytes, __setup_per_zone_wmarks."""

    def spread(minimum: int) -> dict[str, tuple[int, int, int]]:
        marks = {}
        for name, frames in managed.items():
            least = minimum * frames // sum(managed.values())
            gap = max(least // 4, frames * 10 // 10_000)
            marks[name] = (least, least + gap, least + 2 * gap)
        return marks

    kilobytes = sum(managed.values()) * 4
    minimum = min(max(math.isqrt(kilobytes * 16), 128), 262_144) // 4
    marks = spread(minimum)
    blocks = 512 * len(managed)
    recommended = blocks * 2 + blocks * 3 * 3
    buffers = sum(frames - marks[name][2] for name, frames in managed.items())
    recommended = min(recommended, buffers // 20)
    return spread(recommended) if recommended > minimum else marks


@pytest.mark.parametrize("megabytes", [1, 2, 8, 16, 17, 64, 512, 1024, 4096, 6144, 65536])
def test_watermarks_by_linux_formulas(megabytes: int) -> None:
    memory = megabytes << 20
    zones = _guest(memory).zoneinfo()
    managed = _managed(memory)
    assert {name: zone["managed"] for name, zone in zones.items()} == managed
    marks = _watermarks(managed)
    assert {name: (z["min"], z["low"], z["high"]) for name, z in zones.items()} == marks
    names = list(ZONE_ENDS)
    for name, zone in zones.items():
        for index in range(len(names)):
            between = sum(managed.get(n, 0) for n in names[names.index(name) + 1 : index + 1])
            expected = between // (32 if name == "Normal" else 256) if index > names.index(name) else 0
            assert zone["protection"][index] == expected


def test_a_guest_of_the_size_of_a_real_one_keeps_as_much_for_itself() -> None:
    """A Linux 6.1 guest of 1 GiB, idle after its boot under QEMU 7.2.

    MemTotal 995,612 kB, MemFree 955,608, MemAvailable 888,768, SReclaimable 9,032; Active and Inactive 3,384
    of which 540 anonymous. By its balloon it stopped at MemFree 48,744 kB: the min watermarks, and what the
    lowest zone keeps.
    """
    total, free, available, slab, file_pages = 995_612, 955_608, 888_768, 9_032, 3_384 - 540
    reserve = free + slab // 2 + file_pages // 2 - available
    frames = total // 4
    while sum(_managed(frames * PAGE).values()) * 4 < total:
        frames += 1
    guest = _guest(frames * PAGE)
    info = guest.meminfo()
    assert info["MemTotal"] == total << 10
    assert (info["MemFree"] - info["MemAvailable"]) >> 10 == pytest.approx(reserve, rel=0.03)
    zones = guest.zoneinfo()
    stop = sum(zone["min"] + zone["protection"][list(ZONE_ENDS).index("DMA32")] for zone in zones.values())
    assert stop * 4 == pytest.approx(48_744, rel=0.02)


def test_per_cpu_lists_hold_what_linux_would() -> None:
    """zone_batchsize and zone_highsize: after a free of everything the lists keep up to the low watermark."""
    guest = _guest(1 << 30)
    process = guest.spawn()
    area = process.mmap("512MiB")
    import numpy as np

    pages = np.arange(area.start, area.end, PAGE, dtype=np.uint64)
    process.access(pages, np.ones(len(pages), np.uint8))
    process.exit()
    zone = guest.zoneinfo()["DMA32"]
    assert zone["low"] - 63 * 256 < zone["pcp"] <= zone["low"]
    assert guest.meminfo()["MemFree"] + zone["pcp"] * PAGE == guest.free
