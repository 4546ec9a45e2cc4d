"""What is computed from counters: rates, cycles by their cause. Formulas: docs/reference/counters.md."""

from __future__ import annotations

from collections.abc import Mapping

Counters = Mapping[str, int]

CAUSES = {
    "access": "the access itself",
    "l2_hit": "L2 TLB hits",
    "walk": "page walks",
    "assist": "A/D assists and TLB flushes",
    "guest_fault": "guest page faults",
    "exit": "VM exits",
    "host": "hypervisor's memory work",
    "reclaim": "giving memory back",
}
"""Where cycles go: name → what it is."""


EXIT_REASONS = (
    "ept_violation",
    "shadow_page_fault",
    "page_table_write",
    "cr3_write",
    "invlpg",
    "io",
    "hypercall",
    "tlb_refill",
    "tlb_write",
    "interrupt",
)
"""Why control passed from guest to hypervisor: the `exits.*` counters."""


def l1_hits(counters: Counters) -> int:
    """Hits of both L1 TLBs."""
    return counters["l1i_hits"] + counters["l1d_hits"]


def exits(counters: Counters) -> int:
    """VM exits for any reason."""
    return sum(value for name, value in counters.items() if name.startswith("exits."))


def guest_faults(counters: Counters) -> int:
    """True faults: those the guest's kernel serves."""
    return counters["faults.guest_page_fault"]


def host_faults(counters: Counters) -> int:
    """Hidden faults: those the hypervisor resolves and the guest never learns of."""
    faults = sum(value for name, value in counters.items() if name.startswith("faults."))
    return faults - guest_faults(counters)


def rates(counters: Counters) -> dict[str, float]:
    """L1 hits and TLB misses per access, L2 hits per L1 miss, references per walk, cycles per access.

    0 where there is nothing to divide by.
    """
    accesses = counters["accesses"]
    return {
        "l1_hit_rate": _ratio(l1_hits(counters), accesses),
        "l2_hit_rate": _ratio(counters["l2_hits"], counters["l2_hits"] + counters["tlb_misses"]),
        "tlb_miss_rate": _ratio(counters["tlb_misses"], accesses),
        "refs_per_walk": _ratio(counters["walk_refs"], counters["walks"]),
        "cycles_per_access": _ratio(counters["cycles"], accesses),
    }


def cycles_by_cause(counters: Counters, costs: Mapping[str, int]) -> dict[str, int]:
    """`counters["cycles"]` split into `CAUSES`: they add up to it exactly."""
    c = counters
    return {
        "access": c["accesses"] * costs["access"],
        "l2_hit": c["l2_hits"] * costs["l2_tlb_hit"],
        "walk": c["walk_refs"] * costs["walk_reference"],
        "assist": c["dirty_assists"] * costs["dirty_assist"] + c["tlb_flushes"] * costs["tlb_flush"],
        "guest_fault": c["faults.guest_page_fault"] * costs["guest_page_fault"],
        "exit": exits(c) * costs["exit"],
        "host": (
            c["faults.backed_on_demand"] * costs["back_page"]
            + c["faults.shadow_fill"] * costs["shadow_fill"]
            + c["faults.cow_break"] * costs["cow_break"]
            + c["faults.host_swap_in"] * costs["host_swap_in"]
            + c["exits.page_table_write"] * costs["emulated_store"]
            + c["software_tlb_hits"] * costs["software_tlb_hit"]
            + c["exits.tlb_write"] * costs["tlb_write"]
        ),
        "reclaim": (
            c["balloon_inflated"] * costs["inflate_page"]
            + c["balloon_deflated"] * costs["deflate_page"]
            + c["free_reports"] * costs["report_block"]
            + c["free_hints"] * costs["free_hint"]
            + c["discards"] * costs["discard"]
            + c["discarded_small"] * costs["discard_small"]
            + c["discarded_large"] * costs["discard_large"]
        ),
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
