// Random numbers by position: the n-th number of a seed's stream without those before it.
#pragma once

#include <cstdint>

#include "core/rng.hpp"

namespace vmem::sim {

/// SplitMix64's first number for the state `value`.
constexpr std::uint64_t mix(std::uint64_t value) { return SplitMix64(value)(); }

/// The stream of a seed: SplitMix64's, begun at a hash of the seed.
class Hash {
 public:
  explicit constexpr Hash(std::uint64_t seed) : begin_(mix(seed)) {}

  constexpr std::uint64_t operator()(std::uint64_t position) const {
    constexpr std::uint64_t kGamma = 0x9e3779b97f4a7c15ull;
    return mix(begin_ + (position - 1) * kGamma);
  }

 private:
  std::uint64_t begin_;
};

/// From 0 to bound - 1, for bounds to 2^43: what 64 bits leave uneven is beyond notice.
constexpr std::uint64_t below(std::uint64_t random, std::uint64_t bound) {
  return bound <= 1ull << 32 ? (random >> 32) * bound >> 32 : random % bound;
}

}  // namespace vmem::sim
