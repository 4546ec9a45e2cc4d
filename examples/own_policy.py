"""A policy of one's own: if the host is short, who has the most free gives; else who has the least gets.

In a scenario: [policy] name = "own_policy.py:Neediest". Run here, it is tried on two VMs.
"""


class Neediest:
    def __init__(self, step=64 << 20, keep=0.1):
        self.step, self.keep = step, keep

    def decide(self, host, vms):
        told = sorted((vm for vm in vms if vm.free is not None), key=lambda vm: vm.free / vm.actual)
        if host.free < self.keep * host.memory:
            return {vm.name: max(vm.actual - self.step, vm.minimum) for vm in told[-1:]}
        return {vm.name: min(vm.actual + self.step, vm.memory) for vm in told[:1]}


if __name__ == "__main__":
    import vmem
    from vmem.policies import Controller

    host = vmem.Hypervisor("768MiB", swap="1GiB")
    for name, used in (("idle", "300MiB"), ("busy", "500MiB")):
        vm = host.create_vm(name, memory="640MiB", balloon=True)
        curve = [["0s", used, "32MiB"], ["30s", "32MiB" if name == "idle" else used, "32MiB"]]
        vm.guest.spawn().start(vmem.workload("demand", curve=curve, compute="100us"))
    controller = Controller(host, Neediest(), "5s")
    controller.run("3min")
    for vm in host:
        print(
            f"{vm.name}: {vm.balloon.actual >> 20} of {vm.memory >> 20} MiB, {vm.swapped >> 20} MiB swapped"
        )
    changed = sum(row.wanted is not None for row in controller.rows)
    print(f"{changed} targets, {len(controller.incidents)} incidents")
