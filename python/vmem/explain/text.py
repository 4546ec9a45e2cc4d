"""An explanation as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vmem.explain.entries import LEVEL_NAMES, change
from vmem.explain.model import Explanation, Step

TABLES = {"guest": "guest table", "second_stage": "second stage", "shadow": "shadow table"}
_SPACES = {"guest": "gPA", "second_stage": "hPA", "shadow": "hPA"}
_TLBS = {
    "l1d": "L1 data TLB",
    "l1i": "L1 instruction TLB",
    "l2": "L2 TLB",
    "software": "the hypervisor's second-level TLB",
}
_CACHES = {
    "psc": "paging-structure cache",
    "host_psc": "paging-structure cache of the second stage",
    "nested_tlb": "nested TLB (gPA to hPA)",
}
_FAULTS = {
    "page_fault": "#PF",
    "general_protection": "#GP: the address is not canonical",
    "ept_violation": "EPT violation",
    "nested_page_fault": "#NPF",
    "tlb_refill": "TLB refill exception",
    "tlb_modified": "TLB modified exception: a store through a clean entry",
}
_EXITS = {
    "ept_violation": "the second stage has no entry, or one that forbids the access",
    "shadow_page_fault": "a page fault of the shadow table, or of the kernel's own mapping",
    "page_table_write": "the guest stores to a page table that the hypervisor has write-protected",
    "cr3_write": "the guest loads CR3: so the hypervisor learns of its page-table root",
    "invlpg": "the guest executes INVLPG: so the hypervisor learns that a mapping has changed",
    "io": "the guest touches a device register",
    "hypercall": "the guest asks the hypervisor by name",
    "tlb_refill": "the TLB has no entry and no hardware walks",
    "tlb_write": "the guest's kernel executes a privileged TLB write",
    "interrupt": "an interrupt is delivered",
}
_VERDICTS = {
    "guest_page_fault": "a true fault, the guest's: its own table has no entry, or forbids the access",
    "shadow_fill": "a hidden fault, the hypervisor's: the guest's table allows it, the shadow lacks it",
    "backed_on_demand": "a hidden fault, the hypervisor's: the frame has no machine memory yet",
    "host_swap_in": "a hidden fault, the hypervisor's: it has swapped the frame out, and reads it back",
    "cow_break": "a hidden fault, the hypervisor's: the frame is shared, the store gets a copy",
    "dirty_trap": "a hidden fault, the hypervisor's: the first store, so the guest's dirty bit is set",
    "spurious": "nobody's: the entry is there by now",
}
_DECISIONS = {
    "retry": "the hypervisor has repaired it; the access is made again",
    "inject": "a true fault: the guest's kernel gets it",
    "emulate": "the hypervisor carries the access out itself",
    "stall": "the hypervisor has repaired it; the vCPU waits, then the access is made again",
    "kill": "the host has no memory left; the VM cannot go on",
}
_HANDLERS = {
    "resolved": "the guest's kernel has served the fault; the access is made again",
    "signal": "the guest's kernel knows no mapping that allows it: SIGSEGV",
    "killed": "the guest is out of memory: the process is killed",
}


def lines(explanation: Explanation) -> Iterator[str]:
    """The steps, numbered references with `#`, cycles at the end of the line."""
    counted = f"{explanation.counters['walk_refs']} references, {_exits(explanation)} exits"
    yield (
        f"{explanation.access} at gVA {explanation.address:#x}, VM {explanation.vm!r}, "
        f"mmu {explanation.mmu}: {counted}, {explanation.cycles:,} cycles"
    )
    for step in explanation.steps:
        text = describe(step, explanation)
        if text is None:
            continue
        indent = "    " if step.kind in ("cache", "read", "change") else "  "
        cost = f"  [{step.cycles:,}]" if step.cycles else ""
        yield f"{indent}{text}{cost}"


def _exits(explanation: Explanation) -> int:
    return sum(count for name, count in explanation.counters.items() if name.startswith("exits."))


def describe(step: Step, explanation: Explanation) -> str | None:
    """One step in words; None if there is nothing to say."""
    if step.kind == "change":
        return _change(step, explanation)
    return _DESCRIBE[step.kind](step)


def _lookup(step: Step) -> str:
    found = f"hit, holds the level-{step.level} entry" if step.hit else "miss"
    return f"{_CACHES[step.name]} for {step.address:#x}: {found}"


def _decision(step: Step) -> str:
    if step.name == "inject" and step.fault and step.fault["vector"] == 0:
        return "decision inject: no hardware walks, so the guest's own refill handler must look"
    waited = f" ({step.waited_ns / 1000:,.0f} us for the disk)" if step.waited_ns else ""
    return f"decision {step.name}: {_DECISIONS[step.name]}{waited}"


_DESCRIBE: dict[str, Callable[[Step], str]] = {
    "tlb": lambda step: f"{_TLBS[step.name]}: {'hit' if step.hit else 'miss'}",
    "walk": lambda _: "page walk",
    "cache": _lookup,
    "read": lambda step: f"#{step.number:<2} {_place(step)}: {step.bits}",
    "software_walk": lambda step: f"the guest's kernel walks its table in software: {step.number} references",
    "fault": lambda step: f"fault: {_fault(step)}",
    "exit": lambda step: f"VM exit {step.name}: {_EXITS[step.name]}",
    "verdict": lambda step: f"whose fault? {_VERDICTS[step.name]}",
    "decision": _decision,
    "handler": lambda step: _HANDLERS[step.name],
    "assist": lambda _: "store through a clean TLB entry: the processor walks again to set the dirty bit",
    "flush": lambda step: f"{step.number} whole-context TLB flush{'es' if step.number > 1 else ''}",
    "result": lambda step: f"done, at hPA {step.address:#x}" if step.name == "done" else "given up",
}


def _place(step: Step) -> str:
    where = f"{_SPACES[step.table]} {step.address:#x}"
    return f"{TABLES[step.table]} level {step.level} ({LEVEL_NAMES[step.level]}) at {where}"


def _fault(step: Step) -> str:
    assert step.fault is not None
    name, fault = _FAULTS.get(step.name, step.name), step.fault
    if step.name == "page_fault":
        return f"{name}, error code {fault['error_code']:#x}, at a level-{fault['level']} entry"
    if fault["second_stage"]:
        code = (
            f"exit qualification {fault['qualification']:#x}"
            if step.name == "ept_violation"
            else f"EXITINFO1 {fault['error_code']:#x}"
        )
        what = "of a guest table" if fault["table_access"] else "of the data or of the kernel's"
        return f"{name} at gPA {fault['gpa']:#x} {what}, {code}"
    return name


def _change(step: Step, explanation: Explanation) -> str | None:
    if step.before is None and step.table == "second_stage":
        return None  # it has been there before, the access did not need it yet
    what = change(step.before, step.entry, step.table, step.level, explanation.nested_format)
    return f"{_place(step)} is now: {what}"
