#include "vmm/reclaim/victims.hpp"

#include "vmm/unmap.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

std::optional<Gfn> Victims::pick(Vm& vm, Unmap& unmap) {
  switch (policy_) {
    case VictimPolicy::random:
      return pick_at_random(vm);
    case VictimPolicy::clock:
      return pick_by_clock(vm, unmap);
  }
  return std::nullopt;
}

std::optional<Gfn> Victims::pick_at_random(Vm& vm) {
  // Rejection is fair; the search that follows when few are resident prefers those behind a gap.
  constexpr int kTries = 16;
  const SecondStage& stage = *vm.second_stage();
  Gfn gfn;
  for (int i = 0; i < kTries; ++i) {
    gfn = Gfn{random_() % vm.frames()};
    if (stage.find(gfn).present) return gfn;
  }
  const auto next = stage.next_resident(gfn);
  return next ? next : stage.next_resident(Gfn{0});
}

std::optional<Gfn> Victims::pick_by_clock(Vm& vm, Unmap& unmap) {
  if (hands_.size() <= vm.id()) hands_.resize(vm.id() + std::size_t{1});
  std::uint64_t& hand = hands_[vm.id()];
  const SecondStage& stage = *vm.second_stage();
  for (int rounds = 0; rounds < 3;) {  // after one round nothing is young any more
    const auto gfn = stage.next_resident(Gfn{hand});
    if (!gfn) {
      hand = 0;
      ++rounds;
      continue;
    }
    const bool young = unmap.age(*gfn);
    hand = young ? align_down(gfn->value, page_frames(stage.find(*gfn).size())) + page_frames(stage.find(*gfn).size())
                 : gfn->value + 1;
    if (!young) return gfn;
  }
  return std::nullopt;
}

}  // namespace vmem::vmm
