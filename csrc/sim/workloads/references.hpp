// A stream of references: where they go, and which of them are stores.
#pragma once

#include <cstdint>
#include <span>

#include "sim/workloads/hash.hpp"
#include "sim/workloads/offsets.hpp"

namespace vmem::sim {

/// Which references are stores.
struct Stores {
  enum class Pattern : std::uint8_t {
    share,      ///< so many of them, at random
    alternate,  ///< every second one
  };
  Pattern pattern = Pattern::share;
  std::uint64_t share = 0;  ///< in 2^-63

  bool operator==(const Stores&) const = default;
};

/// The stream of a seed. Without state: any part of it can be had at any time.
struct ReferenceStream {
  SharedOffsets offsets;
  Stores stores;
  std::uint64_t seed = 0;

  /// Addresses and kinds of as many references as there is room for, from number `first` on, in memory that begins at
  /// `base`.
  void fill(std::uint64_t base, std::uint64_t first, std::span<std::uint64_t> addresses,
            std::span<std::uint8_t> kinds) const;
};

}  // namespace vmem::sim
