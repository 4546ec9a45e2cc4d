// Memory that reclaim can have for the asking, and how much of it reclaim asks for (Linux: mm/shrinker.c).
#pragma once

#include <algorithm>
#include <cstdint>

#include "hw/vcpu.hpp"

namespace vmem::guest {

class Shrinker {
 public:
  /// Pages that it could free.
  virtual std::uint64_t count() const = 0;
  /// Frees about so many. Returns how many it did.
  virtual std::uint64_t scan(hw::Vcpu& vcpu, std::uint64_t pages) = 0;

 protected:
  ~Shrinker() = default;
};

/// do_shrink_slab: the lower the priority number, the more is asked for; what is too little for a batch is kept for the
/// next time.
class ShrinkerScan {
 public:
  static constexpr std::uint64_t kBatch = 128, kSeeks = 2;

  /// Returns the pages freed.
  std::uint64_t run(hw::Vcpu& vcpu, Shrinker& shrinker, int priority) {
    const std::uint64_t freeable = shrinker.count();
    if (freeable == 0) return 0;
    const std::uint64_t deferred = deferred_;
    const std::uint64_t delta = (freeable >> priority) * 4 / kSeeks;
    std::uint64_t left = std::min((deferred >> priority) + delta, 2 * freeable);
    std::uint64_t freed = 0, scanned = 0;
    while (left != 0 && (left >= kBatch || left >= freeable)) {
      const std::uint64_t part = std::min(kBatch, left);
      freed += shrinker.scan(vcpu, part);
      left -= part;
      scanned += part;
    }
    deferred_ = std::min(deferred + delta - std::min(deferred + delta, scanned), 2 * freeable);
    return freed;
  }

 private:
  std::uint64_t deferred_ = 0;
};

}  // namespace vmem::guest
