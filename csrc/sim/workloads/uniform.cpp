#include "sim/workloads/hash.hpp"
#include "sim/workloads/offsets.hpp"

namespace vmem::sim {
namespace {

class Uniform final : public Offsets {
 public:
  using Offsets::Offsets;
  void fill(std::uint64_t seed, std::uint64_t first, std::span<std::uint64_t> out) const override {
    const Hash random(seed);
    const std::uint64_t words = size() / kWord;
    for (std::uint64_t& offset : out) offset = below(random(first++), words) * kWord;
  }
};

}  // namespace

SharedOffsets uniform_offsets(std::uint64_t size) { return std::make_shared<Uniform>(size); }

}  // namespace vmem::sim
