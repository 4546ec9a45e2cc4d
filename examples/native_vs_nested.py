"""One recorded program on a native machine and in virtual machines, page sizes varied on both sides.

Run it with: python examples/native_vs_nested.py [TRACE]
TRACE is a file, or the name of a trace that comes with vmem (`vmem trace list`); gups if not given.
"""

import sys

import vmem

trace = vmem.Trace.open(sys.argv[1] if len(sys.argv) > 1 else "gups")
machines = [
    ("native", "4KiB", "4KiB"),
    ("native", "2MiB", "4KiB"),
    ("nested", "4KiB", "4KiB"),
    ("nested", "4KiB", "2MiB"),
    ("nested", "2MiB", "2MiB"),
]

print(f"{trace.name}: {trace.references:,} references to {trace.pages():,} pages")
print(f"{'mode':8}{'guest':>6}{'host':>6}{'misses':>10}{'refs/walk':>11}{'exits':>8}{'cycles/ref':>12}")
for mmu, page, backing in machines:
    host = vmem.Hypervisor(memory="4GiB")
    vm = host.create_vm("vm", memory="1GiB", mmu=mmu, backing=backing)
    process = vm.guest.spawn(trace.name)
    process.load(trace, page=page)
    result = process.run(trace, page=page)
    counters = result.counters
    print(
        f"{mmu:8}{page:>6}{'-' if mmu == 'native' else backing:>6}{counters['tlb_misses']:>10,}"
        f"{counters['walk_refs'] / counters['walks']:>11.2f}{sum(result.exits.values()):>8,}"
        f"{result.cycles / result.references:>12.2f}"
    )
