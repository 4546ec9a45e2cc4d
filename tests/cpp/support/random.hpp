// Repeatable choices for tests that try many cases.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "core/rng.hpp"

namespace vmem::test {

class Random {
 public:
  explicit Random(std::uint64_t seed) : next_(seed) {}

  std::uint64_t bits() { return next_(); }
  /// 0 to `bound` - 1.
  template <std::integral Number>
  Number below(Number bound) {
    return static_cast<Number>(next_() % static_cast<std::uint64_t>(bound));
  }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  template <class Container>
  auto& pick(Container& from) {
    return from[below(std::size(from))];
  }

 private:
  SplitMix64 next_;
};

}  // namespace vmem::test
