#include "vmm/unmap.hpp"

#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

bool Unmap::take(Gfn gfn) {
  SecondStage& stage = *vm_.second_stage();
  SecondStage::Leaf leaf = stage.find(gfn);
  while (leaf.present && leaf.level > 1) {
    const Hfn head = stage.target(leaf, Gfn{align_down(gfn.value, page_frames(leaf.size()))});
    if (!stage.split(leaf)) return false;
    vm_.memory().buddy().split(head, 9 * (leaf.level - 2));
    leaf = stage.find(gfn);
  }
  return take_page(gfn) != 0;
}

std::uint64_t Unmap::take_page(Gfn gfn) {
  SecondStage& stage = *vm_.second_stage();
  const SecondStage::Leaf leaf = stage.find(gfn);
  if (!leaf.present) return 0;
  const std::uint64_t frames = page_frames(leaf.size());
  const Gfn first{align_down(gfn.value, frames)};
  taken_.push_back(stage.target(leaf, first));
  if (vm_.shadow() != nullptr) vm_.shadow()->forget_frames(first, taken_.back(), frames);
  stage.set(leaf, 0);
  vm_.add_resident(-static_cast<std::int64_t>(frames));
  return frames;
}

void Unmap::commit() {
  if (taken_.empty()) return;
  vm_.flush_processors();
  if (vm_.shadow() != nullptr) vm_.shadow()->settle();
  for (const Hfn head : taken_) vm_.memory().free(head);
  taken_.clear();
}

void release_all(Vm& vm) {
  std::vector<Hfn> frames;
  vm.second_stage()->for_each(
      [&](Gfn gfn, const SecondStage::Leaf& leaf) { frames.push_back(vm.second_stage()->target(leaf, gfn)); });
  for (const Hfn head : frames) vm.memory().free(head);
  vm.add_resident(-static_cast<std::int64_t>(vm.resident_frames()));
}

}  // namespace vmem::vmm
