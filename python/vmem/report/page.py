"""report.html: one file that opens anywhere, without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

from vmem import measures
from vmem.durations import format_duration
from vmem.report import charts, outcome, over_time, timeline
from vmem.report.axis import Axis, axis_of
from vmem.report.decisions import decisions
from vmem.report.document import chart, document, fill
from vmem.report.view import Shown, view
from vmem.runner import Result
from vmem.sizes import format_size

_ROWS: dict[str, Callable[[Shown], str]] = {
    "program": charts.program,
    "references": lambda vm: f"{vm.references:,}",
    "L1 TLB hits": lambda vm: f"{vm.rates['l1_hit_rate']:.3%}",
    "L2 TLB hits, of L1 misses": lambda vm: f"{vm.rates['l2_hit_rate']:.3%}",
    "TLB misses": lambda vm: f"{vm.counters['tlb_misses']:,}",
    "walks": lambda vm: f"{vm.counters['walks']:,}",
    "walk refs, guest": lambda vm: f"{vm.counters['walk_refs_guest']:,}",
    "walk refs, host": lambda vm: f"{vm.counters['walk_refs_host']:,}",
    "guest faults": lambda vm: f"{measures.guest_faults(vm.counters):,}",
    "host faults": lambda vm: f"{measures.host_faults(vm.counters):,}",
    "VM exits": lambda vm: f"{measures.exits(vm.counters):,}",
    "cycles": lambda vm: f"{vm.counters['cycles']:,}",
    "cycles per access": lambda vm: f"{vm.rates['cycles_per_access']:.3f}",
    "resident": lambda vm: (
        f"its {format_size(vm.memory)}" if vm.mmu == "native" else format_size(vm.resident)
    ),
}


def report_html(result: Result) -> str:
    """The report of a run as one HTML document."""
    shown = view(result)
    axis = axis_of(result)
    memory = timeline.memory(shown, axis)
    host = result.summary["host"]
    return document(
        "page.html",
        name=escape(result.scenario.name),
        version=escape(result.summary["vmem"]),
        host=escape(
            f"{host['cpu']}, {format_size(host['memory_bytes'])} of memory, seed {host['seed']}; "
            f"{len(result.summary['vms'])} VMs, {sum(vm.references for vm in shown):,} references"
        ),
        findings=_findings(findings(shown)),
        warnings="".join(f'<p class="warning">{escape(text)}</p>' for text in result.warnings),
        summary=_table(shown, _ROWS),
        ended=chart(charts.ended(shown), "ended"),
        walks=chart(charts.walk_references(shown), "walks"),
        cycles=chart(charts.cycles(shown), "cycles"),
        memory="<p>All machines are native.</p>" if memory is None else chart(memory, "memory"),
        events=chart(timeline.events(shown, axis), "events"),
        over_time="" if axis.per_step is not None else _over_time(result, shown, axis),
        policy=_policy(result, shown, axis),
        scenario=escape(result.scenario.text),
    )


def _findings(found: list[str]) -> str:
    """The section that a reader begins with; nothing if there is nothing to say."""
    if not found:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in found)
    return f"<section><h2>In short</h2><ul>{items}</ul></section>"


def _over_time(result: Result, shown: list[Shown], axis: Axis) -> str:
    """The sections of a run over time."""
    summary = result.summary["host"]
    total = summary["memory_bytes"]
    return fill(
        "over_time.html",
        outcome=_table(shown, outcome.ROWS),
        density=escape(outcome.host_sentence(summary["outcome"], total)),
        host=chart(over_time.host(shown, result.host, total, axis), "host"),
        stall=chart(over_time.stall(shown, axis), "stall"),
    )


def _policy(result: Result, shown: list[Shown], axis: Axis) -> str:
    """The section about its policy, if the run had one."""
    summary = result.summary.get("policy")
    figure = decisions(result, shown, axis) if summary else None
    if summary is None or figure is None:
        return ""
    return fill(
        "policy.html",
        what=escape(
            f"{summary['name']} was asked {summary['decisions']:,} times, every "
            f"{format_duration(summary['interval_ns'])}, and changed {summary['changes']:,} targets; guests "
            f"were {format_size(summary['mean_error_bytes'])} off on average."
        ),
        decisions=chart(figure, "decisions"),
    )


def findings(shown: list[Shown]) -> list[str]:
    """What a reader would want to be told first: what each program costs, and how much more elsewhere."""
    found = [_time_found(vm) for vm in shown if vm.slowdown is not None or vm.waiting]
    for name, vms in charts.groups(shown).items():
        base = next((vm for vm in vms if vm.mmu == "native"), vms[0])
        cost = base.rates["cycles_per_access"]
        others = [vm for vm in vms if vm.group != base.group]
        if cost and others:
            ratios = [f"{vm.rates['cycles_per_access'] / cost:.2f}× that on {_where(vm)}" for vm in others]
            found.append(f"{name} costs {cost:.2f} cycles per access on {_where(base)}; {', '.join(ratios)}.")
    return found


def _time_found(vm: Shown) -> str:
    """How a VM fared in a run over time."""
    waiting, queued = vm.waiting / max(1, vm.passed), vm.runnable / max(1, vm.passed)
    slowdown = "" if vm.slowdown is None else f"slowdown {vm.slowdown:.2f}; "
    return (
        f"{vm.label}: {slowdown}its vCPUs waited for disk or swap {waiting:.1%} of the "
        f"time, and had no physical CPU {queued:.1%}."
    )


def _where(vm: Shown) -> str:
    return f"{vm.label} ({vm.mode})"


def _table(shown: list[Shown], cells: Mapping[str, Callable[[Shown], str]]) -> str:
    """Measures by VMs: what is to be compared stands side by side."""
    vms = charts.together(shown)
    head = "".join(f"<th>{escape(vm.label)}<small>{escape(vm.mode)}</small></th>" for vm in vms)
    rows = [
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell(vm))}</td>' for vm in vms)}</tr>"
        for name, cell in cells.items()
    ]
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
