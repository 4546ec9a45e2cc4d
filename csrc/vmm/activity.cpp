#include "vmm/activity.hpp"

#include <algorithm>
#include <unordered_set>

#include "core/error.hpp"
#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/unmap.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

bool is_touched(const Vm& vm, Gfn gfn) {
  const SecondStage& stage = *vm.second_stage();
  const SecondStage::Leaf leaf = stage.find(gfn);
  if (!leaf.present) return false;
  const ShadowMmu* const shadow = vm.shadow();
  return shadow != nullptr ? shadow->maps(stage.target(leaf, gfn)) : stage.accessed(leaf.entry);
}

}  // namespace

ActivitySampler::Count ActivitySampler::next(Vm& vm, std::uint64_t pages) {
  if (vm.is_native() || vm.config().mode == MmuMode::software_tlb)
    throw ConfigError("VM '" + vm.config().name +
                      "': its activity cannot be sampled; accepted are VMs with nested or "
                      "shadow paging");
  const Count done = count(vm);
  std::vector<Gfn> sample = draw(vm, pages);
  Unmap unmap(vm);
  for (const Gfn gfn : sample)
    if (vm.second_stage()->find(gfn).present) unmap.age(gfn);
  samples_[vm.id()] = std::move(sample);
  return done;
}

ActivitySampler::Count ActivitySampler::count(const Vm& vm) const {
  const auto found = samples_.find(vm.id());
  if (found == samples_.end()) return {};
  const auto touched = std::ranges::count_if(found->second, [&](Gfn gfn) { return is_touched(vm, gfn); });
  return {static_cast<std::uint64_t>(touched), found->second.size()};
}

void ActivitySampler::forget(const Vm& vm) { samples_.erase(vm.id()); }

std::vector<Gfn> ActivitySampler::draw(const Vm& vm, std::uint64_t pages) {
  // Floyd's algorithm (Bentley, CACM 1987): different pages, each set of them alike.
  const std::uint64_t all = vm.frames();
  std::unordered_set<std::uint64_t> drawn;
  std::vector<Gfn> sample;
  for (std::uint64_t last = all - std::min(pages, all); last < all; ++last) {
    const std::uint64_t wanted = random_() % (last + 1);
    const std::uint64_t taken = drawn.insert(wanted).second ? wanted : last;
    drawn.insert(taken);
    sample.push_back(Gfn{taken});
  }
  return sample;
}

}  // namespace vmem::vmm
