// How often a measured value was how large, to within a 64th of it.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace vmem {

/// Buckets of one value each below 128, then 64 to each power of two: counts are exact, values known to 1/64 (as in an
/// HDR histogram of two digits).
class Histogram {
 public:
  void add(std::uint64_t value, std::uint64_t times) {
    if (times == 0) return;
    const std::size_t at = bucket(value);
    if (at >= counts_.size()) counts_.resize(at + 1);
    counts_[at] += times;
  }
  /// Calls `visit(highest, times)` for every bucket that holds something, from the lowest; `highest` is the highest
  /// value that falls into it.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t at = 0; at < counts_.size(); ++at)
      if (counts_[at] != 0) visit(highest(at), counts_[at]);
  }

  static std::size_t bucket(std::uint64_t value) {
    if (value < 2 * kParts) return value;
    const int shift = static_cast<int>(std::bit_width(value)) - kBits - 1;
    return static_cast<std::size_t>(shift) * kParts + (value >> shift);
  }
  static std::uint64_t highest(std::size_t bucket) {
    if (bucket < 2 * kParts) return bucket;
    const std::size_t shift = bucket / kParts - 1;
    return ((bucket % kParts + kParts + 1) << shift) - 1;
  }

 private:
  static constexpr int kBits = 6;
  static constexpr std::uint64_t kParts = 1 << kBits;

  std::vector<std::uint64_t> counts_;
};

}  // namespace vmem
