#include "vmm/kill.hpp"

#include <vector>

#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/unmap.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

void kill(Vm& vm) {
  if (vm.is_killed() || vm.is_native()) return;
  SecondStage& stage = *vm.second_stage();
  std::vector<Gfn> pages;
  stage.for_each([&](Gfn gfn, const SecondStage::Leaf&) { pages.push_back(gfn); });
  {
    Unmap unmap(vm);
    for (const Gfn gfn : pages) unmap.take_page(gfn);
  }
  pages.clear();
  stage.for_each_swapped([&](Gfn gfn, memory::SwapSlot) { pages.push_back(gfn); });
  for (const Gfn gfn : pages) {
    const SecondStage::Leaf leaf = stage.find(gfn);
    vm.host().swap.release(SecondStage::slot_of(leaf));
    stage.set(leaf, 0);
  }
  vm.add_swapped(-static_cast<std::int64_t>(pages.size()));
  if (vm.shadow() != nullptr) vm.shadow()->give_up_pages();
  for (std::size_t i = 0; i < vm.vcpu_count(); ++i) vm.vcpu(i).interrupts().clear();
  vm.set_killed();
}

}  // namespace vmem::vmm
