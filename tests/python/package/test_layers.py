"""Arrows go down only: no layer of csrc/ includes what its rank forbids."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

# What each directory may include besides itself. The two rules of the design are the two absences: guest/ has
# neither vmm/ nor memory/ (it
# reaches the hypervisor as a real guest does, through its vCPU), vmm/ has no guest/ (it learns what a real
# hypervisor can).
ALLOWED = {
    "core": set(),
    "memory": {"core"},
    "paging": {"core", "memory"},
    "hw": {"core", "memory", "paging"},
    "virtio": {"core", "memory", "paging", "hw"},
    "vmm": {"core", "memory", "paging", "hw", "virtio"},
    "guest": {"core", "paging", "hw", "virtio"},
    "sim": {"core", "memory", "paging", "hw", "virtio", "vmm", "guest"},
    "capi": {"core", "memory", "paging", "hw", "virtio", "vmm", "guest", "sim", "vmem"},
    "python": {"core", "memory", "paging", "hw", "virtio", "vmm", "guest", "sim", "vmem"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def includes(file: Path) -> list[tuple[str, str]]:
    return INCLUDE.findall(file.read_text())


def sources(directory: Path) -> list[Path]:
    return sorted(file for file in directory.rglob("*") if file.suffix in {".hpp", ".cpp", ".h"})


def layers(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "csrc").iterdir() if path.is_dir() and path.name != "include")


def test_every_directory_is_a_known_layer(root: Path) -> None:
    found = set(layers(root))
    assert {"core", "memory", "paging", "hw", "vmm", "guest", "sim", "python"} <= found <= ALLOWED.keys()


@pytest.mark.parametrize("layer", ALLOWED)
def test_a_layer_includes_only_what_is_below_it(layer: str, root: Path) -> None:
    csrc = root / "csrc"
    wrong = []
    for file in sources(csrc / layer):
        for quote, name in includes(file):
            target = name.split("/")[0]
            if quote == "<":
                # Our own headers are never written as the system's, which would slip past this test.
                if "/" in name and (target in ALLOWED or target == "vmem"):
                    wrong.append(f"{file.relative_to(root)}: <{name}>")
            elif target not in ALLOWED[layer] | {layer}:
                wrong.append(f"{file.relative_to(root)}: {name}")
            elif not any((base / name).is_file() for base in (csrc, csrc / "include")):
                wrong.append(f"{file.relative_to(root)}: {name} does not exist")
    assert wrong == []


def test_public_headers_include_no_layer(root: Path) -> None:
    """Who links vmem sees csrc/include and nothing behind it."""
    for file in sources(root / "csrc" / "include"):
        for quote, name in includes(file):
            assert quote == "<" or name.startswith("vmem/"), f"{file}: {name}"


def test_layers_are_built_lowest_first(root: Path) -> None:
    """The list in CMakeLists.txt is the order of the layers, and names all of them that make up the core."""
    match = re.search(r"foreach\(layer ([a-z ]+)\)", (root / "CMakeLists.txt").read_text())
    assert match is not None
    order = match[1].split()
    assert set(order) == set(layers(root)) - {"capi", "python"}
    for index, layer in enumerate(order):
        assert not ALLOWED[layer] & set(order[index:]), f"{layer} comes before something it may include"
