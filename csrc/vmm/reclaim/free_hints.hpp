// The guest's kernel says by hypercall what it has freed.
#pragma once

#include <cstdint>

#include "hw/vcpu.hpp"

namespace vmem::vmm {

class Discard;
class Vm;

/// Since the VM was created.
struct FreeHintStat {
  std::uint64_t calls = 0;
  std::uint64_t blocks = 0;
  std::uint64_t pages = 0;      ///< in them
  std::uint64_t discarded = 0;  ///< frames that the host got back
  std::uint64_t refused = 0;    ///< blocks that are not in guest memory, or no blocks
};

/// What it names loses its machine frames at once. A guest that names what it uses loses it: that is its own affair.
class FreeHints {
 public:
  static constexpr std::uint64_t kMostBlocks = 512;
  static constexpr std::uint64_t kMostOrder = 18;

  explicit FreeHints(Vm& vm) : vm_(vm) {}

  /// Returns the frames that the host got back, or kBadHypercall.
  std::uint64_t on_block(hw::Vcpu& vcpu, std::uint64_t gfn, std::uint64_t order);
  std::uint64_t on_batch(hw::Vcpu& vcpu, Gpa array, std::uint64_t count);
  const FreeHintStat& stat() const { return stat_; }

 private:
  bool take(Discard& discard, std::uint64_t gfn, std::uint64_t order, std::uint64_t& taken);

  Vm& vm_;
  FreeHintStat stat_;
};

}  // namespace vmem::vmm
