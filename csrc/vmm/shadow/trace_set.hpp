// Which guest frames are write-protected because they hold page tables.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "core/address.hpp"

namespace vmem::vmm {

/// Counts for each frame the shadow pages that trace it, and for each larger page around it, so that none of those is
/// mapped writable as a whole.
class TraceSet {
 public:
  bool contains(Gfn gfn) const { return counts_.contains(name(gfn, 1)); }
  /// Some frame of the page of this level around `gfn`.
  bool touches(Gfn gfn, int level) const { return counts_.contains(name(gfn, level)); }
  /// Returns whether the frame was not traced before.
  bool add(Gfn gfn) {
    for (int level = 2; level <= kLevels; ++level) ++counts_[name(gfn, level)];
    return counts_[name(gfn, 1)]++ == 0;
  }
  void remove(Gfn gfn) {
    for (int level = 1; level <= kLevels; ++level) {
      const auto at = counts_.find(name(gfn, level));
      if (--at->second == 0) counts_.erase(at);
    }
  }

 private:
  static constexpr int kLevels = 3;
  static std::uint64_t name(Gfn gfn, int level) {
    return (gfn.value >> (9 * (level - 1))) | static_cast<std::uint64_t>(level) << 60;
  }
  std::unordered_map<std::uint64_t, std::uint32_t> counts_;
};

}  // namespace vmem::vmm
