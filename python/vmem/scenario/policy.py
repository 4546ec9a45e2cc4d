"""[policy]: who decides how much memory guests keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vmem.decode import Place, decode_duration, names
from vmem.policies.catalogue import POLICIES, decode_rules
from vmem.policies.controller import FLOOR
from vmem.policies.model import Rules
from vmem.policies.own import OwnRules, decode_own, is_own

COMMON = ("name", "interval", "floor", "agents")
"""Keys of every policy; the others are its own parameters."""


@dataclass(frozen=True)
class PolicyChoice:
    """A policy with its parameters, and how it is run."""

    rules: Rules | OwnRules
    interval: int
    """Nanoseconds."""
    floor: float
    """Of its memory: what is left to a VM that has no minimum of its own."""
    agents: bool
    """Whether guests report their memory pressure."""


def decode_policy(value: object, at: Place) -> PolicyChoice:
    """ConfigError names the key that is unknown or wrong, and what is accepted."""
    if not isinstance(value, dict) or "name" not in value:
        at.reject(value, f"a table with name = {names(POLICIES)}")
    parameters: dict[str, Any] = {key: item for key, item in value.items() if key not in COMMON}
    name = value["name"]
    rules = decode_own(name, parameters, at) if is_own(name) else decode_rules(name, parameters, at)
    interval = rules.interval
    if "interval" in value:
        interval = decode_duration(value["interval"], at.key("interval"))
        if not 10**6 <= interval <= 10**15:
            at.key("interval").reject(value["interval"], "from 1 ms to 10**15 ns")
    floor, agents = value.get("floor", FLOOR), value.get("agents", True)
    if isinstance(floor, bool) or not isinstance(floor, int | float) or not 0 < floor <= 1:
        at.key("floor").reject(floor, "a share of a VM's memory above 0, at most 1")
    if not isinstance(agents, bool):
        at.key("agents").reject(agents, "true or false")
    return PolicyChoice(rules, interval, floor, agents)
