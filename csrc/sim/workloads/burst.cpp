#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "sim/workloads/offsets.hpp"

namespace vmem::sim {
namespace {

class Burst final : public Offsets {
 public:
  Burst(SharedOffsets of, std::uint64_t burst) : Offsets(of->size()), of_(std::move(of)), burst_(burst) {
    if (burst == 0 || burst > kPageSize / kWord)
      throw ConfigError("a burst of " + std::to_string(burst) + " references: accepted is from 1 to a page's " +
                        std::to_string(kPageSize / kWord));
  }
  void fill(std::uint64_t seed, std::uint64_t first, std::span<std::uint64_t> out) const override {
    std::array<std::uint64_t, 256> begins;
    while (!out.empty()) {
      const std::uint64_t burst = first / burst_;
      const std::uint64_t count =
          std::min<std::uint64_t>(begins.size(), (first % burst_ + out.size() + burst_ - 1) / burst_);
      of_->fill(seed, burst, std::span(begins).first(count));
      for (std::uint64_t i = 0; i < count && !out.empty(); ++i) {
        const std::uint64_t page = begins[i] & ~kPageMask;
        std::uint64_t word = (begins[i] & kPageMask) + first % burst_ * kWord;
        const std::uint64_t part = std::min<std::uint64_t>(out.size(), burst_ - first % burst_);
        for (std::uint64_t& offset : out.first(part)) {
          offset = page | (word & kPageMask);
          word += kWord;
        }
        out = out.subspan(part);
        first += part;
      }
    }
  }

 private:
  SharedOffsets of_;
  std::uint64_t burst_;
};

}  // namespace

SharedOffsets burst_offsets(SharedOffsets of, std::uint64_t burst) {
  return std::make_shared<Burst>(std::move(of), burst);
}

}  // namespace vmem::sim
