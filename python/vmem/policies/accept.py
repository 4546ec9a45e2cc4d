"""What a policy asked for, made harmless: it may be anybody's code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vmem.policies.views import VmView

_MOST_SHOWN = 60
_PAGE = 4096


def accept_targets(answer: object, vms: Sequence[VmView]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The targets that can be followed, within limits; and (VM or "host", what was wrong) for the others."""
    if not isinstance(answer, Mapping):
        return {}, [
            ("host", f"it returned {_show(answer)}; accepted is a mapping from names of VMs to bytes")
        ]
    known = {vm.name: vm for vm in vms}
    targets: dict[str, int] = {}
    wrong: list[tuple[str, str]] = []
    for name, value in answer.items():
        vm = known.get(name) if isinstance(name, str) else None
        if vm is None:
            wrong.append(("host", f"a target for {_show(name)}; accepted are VMs that it was shown"))
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            wrong.append((vm.name, f"target {_show(value)}; accepted is a number of bytes"))
        else:
            whole = -(-int(min(max(value, vm.minimum), vm.memory)) // _PAGE) * _PAGE
            targets[vm.name] = min(whole, vm.memory)
            if not vm.minimum <= value <= vm.memory:
                limits = f"from {vm.minimum:,} to {vm.memory:,} bytes"
                wrong.append(
                    (vm.name, f"target {_show(value)}; made {targets[vm.name]:,}: accepted is {limits}")
                )
    return targets, wrong


def _show(value: object) -> str:
    """Not longer than helps, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."
