#include "vmm/balloon/discard.hpp"

#include "vmm/vm.hpp"

namespace vmem::vmm {

bool Discard::drop_swapped(Gfn gfn) {
  SecondStage& stage = *vm_.second_stage();
  const SecondStage::Leaf leaf = stage.find(gfn);
  if (!SecondStage::is_swapped(leaf)) return false;
  vm_.host().swap.release(SecondStage::slot_of(leaf));
  stage.set(leaf, 0);
  vm_.add_swapped(-1);
  return true;
}

std::uint64_t Discard::page(Gfn gfn) {
  if (unmap_.take(gfn)) return 1;
  drop_swapped(gfn);
  return 0;
}

std::uint64_t Discard::range(Gfn first, std::uint64_t count) {
  const std::uint64_t end = first.value + count;
  std::uint64_t taken = 0;
  for (std::uint64_t at = first.value; at < end;) {
    const SecondStage::Leaf leaf = vm_.second_stage()->find(Gfn{at});
    // Of an empty entry, everything below it is empty.
    const std::uint64_t frames = page_frames(leaf.size());
    const std::uint64_t start = align_down(at, frames);
    if (leaf.present && start >= first.value && start + frames <= end) {
      taken += unmap_.take_page(Gfn{at});
      at = start + frames;
    } else if (leaf.present || SecondStage::is_swapped(leaf)) {
      taken += page(Gfn{at});
      ++at;
    } else {
      at = start + frames;
    }
  }
  return taken;
}

}  // namespace vmem::vmm
