#include "vmm/unmap.hpp"

#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

/// A guest frame leaves the machine frame that backs it. Returns whether nobody is left on it.
bool leave(Host& host, Hfn hfn, const Sharer& leaving) {
  return host.memory.frame(hfn).use != memory::FrameUse::shared || host.sharers.remove(hfn, leaving) == 0;
}

}  // namespace

bool Unmap::split(Gfn gfn, PageSize size) {
  SecondStage& stage = *vm_.second_stage();
  SecondStage::Leaf leaf = stage.find(gfn);
  while (leaf.present && leaf.level > leaf_level(size)) {
    const std::uint64_t frames = page_frames(leaf.size());
    const Gfn first{align_down(gfn.value, frames)};
    const Hfn head = stage.target(leaf, first);
    if (!stage.split(leaf)) return false;
    vm_.memory().buddy().split(head, 9 * (leaf.level - 2));
    if (vm_.shadow() != nullptr) vm_.shadow()->forget_large(head);
    ++vm_.stat().split;
    ++vm_.host().stat.split;
    stale_ = true;
    leaf = stage.find(gfn);
  }
  return leaf.present;
}

bool Unmap::take(Gfn gfn) { return split(gfn, PageSize::k4K) && take_page(gfn) != 0; }

std::uint64_t Unmap::take_page(Gfn gfn) {
  SecondStage& stage = *vm_.second_stage();
  const SecondStage::Leaf leaf = stage.find(gfn);
  if (!leaf.present) return 0;
  const std::uint64_t frames = page_frames(leaf.size());
  const Gfn first{align_down(gfn.value, frames)};
  const Hfn head = stage.target(leaf, first);
  if (vm_.shadow() != nullptr) vm_.shadow()->forget_frames(first, head, frames);
  stage.set(leaf, 0);
  if (leave(vm_.host(), head, {vm_.id(), first})) taken_.push_back(head);
  stale_ = true;
  vm_.add_resident(-static_cast<std::int64_t>(frames));
  return frames;
}

void Unmap::protect(Gfn gfn) {
  SecondStage& stage = *vm_.second_stage();
  const SecondStage::Leaf leaf = stage.find(gfn);
  stage.set(leaf, stage.with_rights(leaf.entry, paging::kRead | paging::kExecute));
  if (vm_.shadow() != nullptr) vm_.shadow()->withdraw_write(stage.target(leaf, gfn));
  stale_ = true;
}

bool Unmap::age(Gfn gfn) {
  SecondStage& stage = *vm_.second_stage();
  const SecondStage::Leaf leaf = stage.find(gfn);
  if (vm_.shadow() != nullptr) {
    const Hfn hfn = stage.target(leaf, gfn);
    if (!vm_.shadow()->maps(hfn)) return false;
    vm_.shadow()->forget_large(hfn);
  } else {
    if (!stage.accessed(leaf.entry)) return false;
    stage.set(leaf, stage.without_accessed(leaf.entry));
  }
  stale_ = true;
  return true;
}

void Unmap::commit() {
  if (!stale_) return;
  stale_ = false;
  vm_.flush_processors();
  if (vm_.shadow() != nullptr) vm_.shadow()->settle();
  for (const Hfn head : taken_) vm_.memory().free(head);
  taken_.clear();
}

void release_all(Vm& vm) {
  SecondStage& stage = *vm.second_stage();
  std::vector<std::pair<Gfn, Hfn>> pages;
  stage.for_each([&](Gfn gfn, const SecondStage::Leaf& leaf) { pages.emplace_back(gfn, stage.target(leaf, gfn)); });
  for (const auto& [gfn, head] : pages)
    if (leave(vm.host(), head, {vm.id(), gfn})) vm.memory().free(head);
  stage.for_each_swapped([&](Gfn, memory::SwapSlot slot) { vm.host().swap.release(slot); });
  vm.add_resident(-static_cast<std::int64_t>(vm.resident_frames()));
  vm.add_swapped(-static_cast<std::int64_t>(vm.swapped_frames()));
}

}  // namespace vmem::vmm
