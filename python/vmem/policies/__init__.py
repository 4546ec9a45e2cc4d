"""Policies that decide how much memory guests keep. Guide: docs/guides/policies.md."""

from __future__ import annotations

from vmem.policies.catalogue import POLICIES, policy
from vmem.policies.controller import Controller, Incident, Limits, PolicyRow
from vmem.policies.model import Policy, Rules, Targets
from vmem.policies.views import HostView, VmView

__all__ = [
    "POLICIES",
    "Controller",
    "HostView",
    "Incident",
    "Limits",
    "Policy",
    "PolicyRow",
    "Rules",
    "Targets",
    "VmView",
    "policy",
]
