#include "sim/workloads/hash.hpp"
#include "sim/workloads/offsets.hpp"

namespace vmem::sim {
namespace {

class Updates final : public Offsets {
 public:
  using Offsets::Offsets;
  void fill(std::uint64_t seed, std::uint64_t first, std::span<std::uint64_t> out) const override {
    const Hash random(seed);
    const std::uint64_t words = size() / kWord;
    for (std::uint64_t& offset : out) offset = below(random(first++ / 2), words) * kWord;
  }
};

}  // namespace

SharedOffsets update_offsets(std::uint64_t size) { return std::make_shared<Updates>(size); }

}  // namespace vmem::sim
