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

void Discard::add_to(Counters& counters) const {
  counters.discards += tally_.ranges;
  counters.discarded_small += tally_.small;
  counters.discarded_large += tally_.large;
}

std::uint64_t Discard::page(Gfn gfn) {
  const std::uint64_t taken = take_small(gfn);
  tally_.ranges += taken;
  return taken;
}

std::uint64_t Discard::take_small(Gfn gfn) {
  if (unmap_.take(gfn)) {
    ++tally_.small;
    return 1;
  }
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
      const std::uint64_t frames_taken = unmap_.take_page(Gfn{at});
      taken += frames_taken;
      tally_.small += frames_taken == 1 ? 1 : 0;
      tally_.large += frames_taken >> 9;
      at = start + frames;
    } else if (leaf.present || SecondStage::is_swapped(leaf)) {
      taken += take_small(Gfn{at});
      ++at;
    } else {
      at = start + frames;
    }
  }
  tally_.ranges += taken != 0 ? 1 : 0;
  return taken;
}

}  // namespace vmem::vmm
