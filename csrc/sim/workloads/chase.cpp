#include <bit>

#include "sim/workloads/hash.hpp"
#include "sim/workloads/offsets.hpp"

namespace vmem::sim {
namespace {

constexpr std::uint64_t kNode = 64;  ///< one cache line

/// A permutation of the numbers below 2^bits, of a seed: three rounds of what can each be undone.
class Permutation {
 public:
  Permutation(std::uint64_t seed, int bits) : mask_((1ull << bits) - 1), shift_(bits / 2 + 1) {
    const Hash random(seed);
    for (std::uint64_t i = 0; i < kRounds; ++i) {
      factor_[i] = random(2 * i) | 1;
      term_[i] = random(2 * i + 1);
    }
  }
  std::uint64_t operator()(std::uint64_t x) const {
    for (int i = 0; i < kRounds; ++i) {
      x = (x * factor_[i] + term_[i]) & mask_;
      x ^= x >> shift_;
    }
    return x;
  }

 private:
  static constexpr int kRounds = 3;
  std::uint64_t mask_;
  int shift_;
  std::uint64_t factor_[kRounds], term_[kRounds];
};

class Chase final : public Offsets {
 public:
  explicit Chase(std::uint64_t size) : Offsets(size) {}
  void fill(std::uint64_t seed, std::uint64_t first, std::span<std::uint64_t> out) const override {
    const std::uint64_t nodes = size() / kNode;
    const Permutation order(seed, static_cast<int>(std::bit_width(nodes - 1)));
    std::uint64_t at = first % nodes;
    for (std::uint64_t& offset : out) {
      std::uint64_t node = order(at);
      while (node >= nodes) node = order(node);  // a permutation's cycle comes back below `nodes`
      offset = node * kNode;
      if (++at == nodes) at = 0;
    }
  }
};

}  // namespace

SharedOffsets chase_offsets(std::uint64_t size) { return std::make_shared<Chase>(size); }

}  // namespace vmem::sim
