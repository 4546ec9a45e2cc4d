#include <string>

#include "core/error.hpp"
#include "sim/workloads/hash.hpp"
#include "sim/workloads/offsets.hpp"

namespace vmem::sim {
namespace {

class HotCold final : public Offsets {
 public:
  HotCold(std::uint64_t size, std::uint64_t hot, std::uint64_t share, std::uint64_t phase)
      : Offsets(size), hot_(hot), share_(share), phase_(phase) {
    if (hot == 0 || (hot & kPageMask) != 0 || hot > size)
      throw ConfigError("a hot part of " + std::to_string(hot) +
                        " bytes: accepted is a positive multiple of 4 KiB, at most the size, " + std::to_string(size));
    if (share > 1ull << 63) throw ConfigError("a hot share above 1");
    if (phase == 0) throw ConfigError("a phase of 0 references: accepted is from 1");
  }
  void fill(std::uint64_t seed, std::uint64_t first, std::span<std::uint64_t> out) const override {
    const Hash where(seed), whether(seed + 1);
    const std::uint64_t hot_words = hot_ / kWord, words = size() / kWord;
    std::uint64_t left = phase_ - first % phase_;
    std::uint64_t start = hot_start(seed, first / phase_);
    for (std::uint64_t& offset : out) {
      if (left == 0) {
        left = phase_;
        start = hot_start(seed, first / phase_);
      }
      --left;
      const std::uint64_t random = where(first);
      const bool hot = whether(first) >> 1 < share_;
      offset = hot ? start + below(random, hot_words) * kWord : below(random, words) * kWord;
      ++first;
    }
  }

 private:
  /// Where the hot part lies in a phase: at a page, anywhere that it fits.
  std::uint64_t hot_start(std::uint64_t seed, std::uint64_t phase) const {
    return below(Hash(seed + 2)(phase), ((size() - hot_) >> kPageShift) + 1) << kPageShift;
  }

  std::uint64_t hot_, share_, phase_;
};

}  // namespace

SharedOffsets hot_cold_offsets(std::uint64_t size, std::uint64_t hot, std::uint64_t share, std::uint64_t phase) {
  return std::make_shared<HotCold>(size, hot, share, phase);
}

}  // namespace vmem::sim
