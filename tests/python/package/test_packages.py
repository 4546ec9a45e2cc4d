"""Imports between the packages of vmem go one way: no two of them need each other."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path


def _packages(root: Path) -> list[Path]:
    return sorted(file.parent for file in (root / "python" / "vmem").glob("*/__init__.py"))


def _imports(module: ast.Module, *, anywhere: bool) -> set[str]:
    """Packages and modules of vmem that it imports: when it is imported itself, or at any time."""
    nodes = ast.walk(module) if anywhere else module.body
    names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[1] for name in names if name.startswith("vmem.")}


def _needs(package: Path, *, anywhere: bool = False) -> set[str]:
    found = [_imports(ast.parse(file.read_text()), anywhere=anywhere) for file in package.rglob("*.py")]
    return set().union(*found) - {package.name}


def test_packages_do_not_need_each_other(root: Path) -> None:
    needs = {package.name: _needs(package) for package in _packages(root)}
    assert {"scenario", "policies", "report", "sweep", "cli"} <= set(needs)
    order = list(TopologicalSorter(needs).static_order())  # raises where there is a cycle
    assert order.index("policies") < order.index("scenario") < order.index("cli")


def test_policies_and_fleets_know_no_scenario(root: Path) -> None:
    """Whoever writes a policy, or reads monitoring data, has no use for a TOML file."""
    for name in ("policies", "fleet"):
        assert "scenario" not in _needs(root / "python" / "vmem" / name, anywhere=True), name
