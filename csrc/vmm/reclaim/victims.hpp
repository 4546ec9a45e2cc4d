// Which page of a VM goes next.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/address.hpp"
#include "core/rng.hpp"
#include "vmm/reclaim/reclaim_config.hpp"

namespace vmem::vmm {

class Unmap;
class Vm;

/// Knows what is resident only from the VM's second stage, and what was accessed only from accessed bits, or, under
/// shadow paging, from which pages the shadow had to map again.
class Victims {
 public:
  Victims(VictimPolicy policy, std::uint64_t seed) : policy_(policy), random_(seed) {}

  /// A resident guest frame; nothing when the VM has none. `unmap` flushes what the clock forgets.
  std::optional<Gfn> pick(Vm& vm, Unmap& unmap);

 private:
  std::optional<Gfn> pick_at_random(Vm& vm);
  std::optional<Gfn> pick_by_clock(Vm& vm, Unmap& unmap);

  VictimPolicy policy_;
  SplitMix64 random_;
  std::vector<std::uint64_t> hands_;  ///< by VM id: the gPFN where the clock's hand stands
};

}  // namespace vmem::vmm
