"""How long until there is room for one more VM? And how long until the old one has its memory back?

A VM of 1 GiB has used nearly all of it and now needs a quarter. The host needs 512 MiB: from the guest's
balloon, by swapping the guest, or by a policy that is only asked now and then.

Run it with: python examples/room_for_one_more.py [POLICY…]

Policies are proxmox, mom and psi if none is named.
"""

import sys

import vmem
from vmem.policies import POLICIES, Controller, Limits

MIB = 1 << 20
NEED = 512 * MIB
CURVE = [["0s", "900MiB", "900MiB"], ["20s", "256MiB", "128MiB"], ["320s", "900MiB", "900MiB"]]


def host_with_one(reclaim: vmem.HostReclaim) -> tuple[vmem.Hypervisor, vmem.Vm]:
    host = vmem.Hypervisor(1200 * MIB, swap="2GiB", reclaim=reclaim)
    vm = host.create_vm("old", memory="1GiB", balloon=True, swap="1GiB")
    vm.guest.swap_detects_zeros = False
    vm.guest.spawn("app").start(vmem.workload("demand", curve=CURVE, compute="100us"))
    host.run("30s")
    return host, vm


def seconds_until(host: vmem.Hypervisor, step: object, done: object, most: int = 250) -> float:
    """Simulated seconds of `step`s until `done`."""
    began = host.now
    while not done() and host.now - began < most * 10**9:
        step()
    return (host.now - began) / 1e9


def by_balloon() -> tuple[float, vmem.Hypervisor, vmem.Vm]:
    host, vm = host_with_one(vmem.HostReclaim(balloons=False))
    vm.balloon.target = 1024 * MIB - NEED
    took = seconds_until(host, lambda: host.run("100ms"), lambda: host.meminfo()["free"] >= NEED)
    return took, host, vm


def by_swap() -> tuple[float, vmem.Hypervisor, vmem.Vm]:
    host, vm = host_with_one(vmem.HostReclaim(balloons=False))
    pages = iter(vm.second_stage())

    def swap_some() -> None:
        for page, _ in zip(pages, range(2560), strict=False):  # 10 MiB in 100 ms: a disk of 100 MB/s
            vm.swap_out(page.gfn * 4096)
        host.run("100ms")

    return seconds_until(host, swap_some, lambda: host.meminfo()["free"] >= NEED), host, vm


def by_policy(name: str) -> tuple[float, vmem.Hypervisor, vmem.Vm]:
    rules = POLICIES[name]()
    host, vm = host_with_one(rules.reclaim())
    controller = Controller(host, rules.start(), rules.interval, {"old": Limits(256 * MIB)})
    took = seconds_until(host, lambda: controller.run("1s"), lambda: host.meminfo()["free"] >= NEED)
    return took, host, vm


def main(policies: list[str]) -> None:
    print(f"{'how':10} {'512 MiB free after':>19} {'waited meanwhile':>17} {'waited in its next burst':>25}")
    found = {}
    ways = {"balloon": by_balloon, "swap": by_swap} | {
        name: (lambda name=name: by_policy(name)) for name in policies
    }
    for how, way in ways.items():
        took, host, vm = way()
        meanwhile = vm.time().waiting / 1e9
        vm.balloon.target = vm.memory  # the newcomer did not stay: all of it is the old VM's again
        host.run(330 * 10**9 - host.now)
        before = vm.time().waiting / 1e9
        host.run("30s")
        found[how] = took, vm.time().waiting / 1e9 - before
        got = f"{took:.1f} s" if host.now and took < 250 else "never"
        print(f"{how:10} {got:>19} {meanwhile:15.1f} s {found[how][1]:23.1f} s")
    never = [name for name, (took, _) in found.items() if took >= 250]
    are = "they are" if len(never) > 1 else "it is"
    content = f"{' and '.join(never)} will not make it: {are} content with what is free. " if never else ""
    print(
        f"\nFor a VM of 512 MiB set the balloon's target yourself: the room is there after "
        f"{found['balloon'][0]:.1f} s. {content}Swapping it takes {found['swap'][0]:.1f} s, and "
        f"costs it {found['swap'][1]:.1f} s of waiting when it grows again."
    )


if __name__ == "__main__":
    main(sys.argv[1:] or ["proxmox", "mom", "psi"])
