#include "vmm/provide.hpp"

#include "hw/vcpu.hpp"
#include "vmm/backing.hpp"
#include "vmm/host_swap.hpp"
#include "vmm/kill.hpp"
#include "vmm/sharing.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

Provided provide(Vm& vm, hw::Vcpu& vcpu, Gfn gfn, bool store, const SecondStage::Leaf& leaf) {
  if (SecondStage::is_swapped(leaf)) {
    switch (swap_in(vm, leaf, gfn)) {
      case SwapIn::done:
        vcpu.count(FaultClass::host_swap_in);
        vcpu.wait(vm.host().swap_read_time);
        return Provided::swapped_in;
      case SwapIn::no_frame:
        return Provided::no_memory;
      case SwapIn::disk_error:
        kill(vm);
        return Provided::lost;
    }
  }
  if (!leaf.present) {
    if (!back(vm, leaf, gfn)) return Provided::no_memory;
    vcpu.count(FaultClass::backed_on_demand);
    return Provided::backed;
  }
  if (!store || (vm.second_stage()->rights(leaf.entry) & paging::kWrite) != 0) return Provided::nothing_missing;
  if (!break_share(vm, gfn)) return Provided::no_memory;
  vcpu.count(FaultClass::cow_break);
  return Provided::copied;
}

Provided provide(Vm& vm, hw::Vcpu& vcpu, Gfn gfn, bool store) {
  return provide(vm, vcpu, gfn, store, vm.second_stage()->find(gfn));
}

}  // namespace vmem::vmm
