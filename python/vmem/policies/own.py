"""A policy of the user's own, in a file beside the scenario: `name = "own_policy.py:Halves"`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmem.decode import Place
from vmem.errors import ConfigError
from vmem.policies.model import LINUX_RECLAIM, Policy
from vmem.reclaim import HostReclaim

_SEPARATOR = ".py:"


@dataclass(frozen=True)
class OwnRules:
    """As `Rules`, for a class in a file: its keyword arguments are the parameters."""

    name: str
    make: Any
    parameters: dict[str, Any]
    interval: int = 10 * 10**9

    def start(self) -> Policy:
        """The policy, in its initial state."""
        policy: Policy = self.make(**self.parameters)
        return policy

    def reclaim(self) -> HostReclaim:
        """When its host takes memory by itself."""
        return LINUX_RECLAIM


def is_own(name: object) -> bool:
    """Whether this names a class in a file."""
    return isinstance(name, str) and _SEPARATOR in name


def file_of(name: str) -> str:
    """The file in such a name."""
    return name.partition(_SEPARATOR)[0] + ".py"


def decode_own(name: str, parameters: dict[str, Any], at: Place) -> OwnRules:
    """Runs the file and makes the policy once, to see whether it can be. ConfigError says why it cannot."""
    attribute = name.partition(_SEPARATOR)[2]
    path = (at.base / file_of(name)).absolute()
    where = at.key("name")
    if not path.is_file():
        where.reject(name, f"FILE.py:CLASS, and there is no file {str(path)!r}")
    make = getattr(_run(path, where), attribute, None)
    if not callable(make):
        where.reject(name, f"FILE.py:CLASS, and {path.name} has no class {attribute!r}")
    rules = OwnRules(name, make, parameters)
    try:
        policy = rules.start()
    except Exception as error:
        raise ConfigError(f"{at}: {attribute}({', '.join(parameters)}) raised {_told(error)}") from None
    if not callable(getattr(policy, "decide", None)):
        where.reject(name, "a class with a method decide(host, vms)")
    return rules


def _run(path: Path, where: Place) -> object:
    spec = importlib.util.spec_from_file_location(f"vmem_policy_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{where}: {path} raised {_told(error)}") from None
    return module


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
