"""Policies by name."""

from __future__ import annotations

from typing import Any

from vmem.decode import Place, decode_table, names
from vmem.policies.esx import EsxRules
from vmem.policies.model import Policy, Rules
from vmem.policies.mom import MomRules
from vmem.policies.proxmox import ProxmoxRules
from vmem.policies.psi import PsiRules
from vmem.policies.static import StaticRules

POLICIES: dict[str, type[Rules]] = {
    rules.name: rules for rules in (StaticRules, EsxRules, MomRules, ProxmoxRules, PsiRules)
}


def decode_rules(name: object, keys: dict[str, Any], at: Place) -> Rules:
    """The rules of that name with these parameters. ConfigError says what is wrong and what is accepted."""
    if not isinstance(name, str) or name not in POLICIES:
        at.key("name").reject(name, names(POLICIES))
    return decode_table(POLICIES[name], keys, at)


def policy(name: str, **parameters: Any) -> Policy:
    """A policy in its initial state: `policy("esx", tax=0.5)`. ConfigError names the wrong parameter."""
    return decode_rules(name, parameters, Place("policy")).start()
