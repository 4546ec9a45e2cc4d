#include "vmm/dispatch.hpp"

#include "core/error.hpp"
#include "vmm/backing.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

using hw::FaultKind;
using hw::Outcome;

/// A true fault: the guest kernel gets it, here without an exit.
Outcome inject(hw::Vcpu& vcpu) {
  vcpu.count(FaultClass::guest_page_fault);
  return Outcome::inject;
}

/// The second stage has no entry, or one that forbids the access: always the hypervisor's.
Outcome second_stage_fault(Vm& vm, hw::Vcpu& vcpu, const hw::Fault& fault) {
  vcpu.count(ExitReason::ept_violation);
  const Gfn gfn = fault.gpa.frame();
  if (!vm.contains(gfn)) return Outcome::emulate;  // no RAM there, and no device: loads see ones, stores go nowhere
  const SecondStage::Leaf leaf = vm.second_stage()->find(gfn);
  if (leaf.present) {
    vcpu.count(FaultClass::spurious);
    return Outcome::retry;
  }
  if (!back(vm, gfn)) return Outcome::kill;
  vcpu.count(FaultClass::backed_on_demand);
  return Outcome::retry;
}

}  // namespace

Outcome dispatch(Vm& vm, hw::Vcpu& vcpu, const hw::Fault& fault) {
  switch (fault.kind) {
    case FaultKind::page_fault:
    case FaultKind::general_protection: return inject(vcpu);
    case FaultKind::ept_violation:
    case FaultKind::nested_page_fault: return second_stage_fault(vm, vcpu, fault);
    case FaultKind::ept_misconfiguration:
      throw InvariantError("EPT misconfiguration at gPA " + hex(fault.gpa.value) + ", entry " + hex(fault.entry) + ": the hypervisor never makes such an entry");
    case FaultKind::tlb_refill:
    case FaultKind::tlb_modified:
    case FaultKind::none: break;
  }
  throw InvariantError("a fault without a kind reached the hypervisor");
}

}  // namespace vmem::vmm
