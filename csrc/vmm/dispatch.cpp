#include "vmm/dispatch.hpp"

#include "core/error.hpp"
#include "vmm/guest_walk.hpp"
#include "vmm/provide.hpp"
#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/software_tlb/software_tlb.hpp"
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

/// A page fault of the tables that the processor walks: the guest's own, or the shadow of them.
Outcome page_fault(Vm& vm, hw::Vcpu& vcpu, hw::Fault& fault) {
  const bool exits = vm.shadow() != nullptr && !vm.shadow()->is_direct(fault);
  return exits ? vm.shadow()->on_page_fault(vcpu, fault) : inject(vcpu);
}

/// No memory and no device there. A walker that looks for a table in it finds all ones, which is a fault of the guest.
Outcome nothing_there(const Vm& vm, hw::Vcpu& vcpu, hw::Fault& fault) {
  if (!fault.table_access) return Outcome::emulate;
  const GuestWalk walk = walk_guest(vm, vcpu.mmu().state(), fault.gva, fault.access);
  if (walk.allowed) return Outcome::retry;
  fault = walk.fault;
  return inject(vcpu);
}

/// The access of the second stage that failed: of the data, or of a guest table on the way to it.
bool is_store(const hw::Fault& fault) {
  return fault.kind == FaultKind::ept_violation ? (fault.qualification & hw::kEptViolationWrite) != 0
                                                : (fault.error_code & hw::kPfWrite) != 0;
}

/// The second stage has no entry, or one that forbids the access: always the hypervisor's.
Outcome second_stage_fault(Vm& vm, hw::Vcpu& vcpu, hw::Fault& fault) {
  vcpu.count(ExitReason::ept_violation);
  const Gfn gfn = fault.gpa.frame();
  if (!vm.contains(gfn)) return nothing_there(vm, vcpu, fault);
  switch (provide(vm, vcpu, gfn, is_store(fault))) {
    case Provided::nothing_missing:
      vcpu.count(FaultClass::spurious);
      return Outcome::retry;
    case Provided::backed:
    case Provided::copied:
      return Outcome::retry;
    case Provided::swapped_in:
      return Outcome::stall;
    case Provided::no_memory:
    case Provided::lost:
      return Outcome::kill;
  }
  return Outcome::kill;
}

}  // namespace

Outcome dispatch(Vm& vm, hw::Vcpu& vcpu, hw::Fault& fault) {
  switch (fault.kind) {
    case FaultKind::page_fault:
      return page_fault(vm, vcpu, fault);
    case FaultKind::general_protection:
      return inject(vcpu);
    case FaultKind::ept_violation:
    case FaultKind::nested_page_fault:
      return second_stage_fault(vm, vcpu, fault);
    case FaultKind::ept_misconfiguration:
      throw InvariantError("EPT misconfiguration at gPA " + hex(fault.gpa.value) + ", entry " + hex(fault.entry) +
                           ": the hypervisor never makes such an entry");
    case FaultKind::tlb_refill:
    case FaultKind::tlb_modified:
      return vm.software_tlb()->on_refill(vcpu, fault);
    case FaultKind::none:
      break;
  }
  throw InvariantError("a fault without a kind reached the hypervisor");
}

}  // namespace vmem::vmm
