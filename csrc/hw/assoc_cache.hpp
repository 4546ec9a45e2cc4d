// A set-associative cache of anything, with the replacement policies that TLBs and paging-structure caches have.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/rng.hpp"

namespace vmem::hw {

enum class Replacement : std::uint8_t { lru, plru, fifo, random };

struct CacheGeometry {
  std::uint32_t entries = 0;
  std::uint32_t ways = 0;  ///< entries / ways sets; ways == entries is fully associative
  Replacement replacement = Replacement::lru;
  std::uint64_t seed = 0;  ///< of `random`
};

/// Maps 64-bit keys to payloads. Key 0 is an invalid way. Knows nothing of addresses: `index` picks the set, `key` is
/// all that is compared. Replacement as docs/design/mmu.md fixes it; `now` is the caller's time, which grows with every
/// touch.
template <class Payload>
class AssocCache {
 public:
  using Slot = std::uint32_t;
  static constexpr Slot kMiss = ~Slot{0};

  explicit AssocCache(const CacheGeometry& geometry)
      : ways_(geometry.ways),
        sets_(geometry.ways == 0 ? 0 : geometry.entries / geometry.ways),
        replacement_(geometry.replacement),
        random_(geometry.seed) {
    if (ways_ == 0 || sets_ == 0 || sets_ * ways_ != geometry.entries)
      throw ConfigError("cache of " + std::to_string(geometry.entries) + " entries in " +
                        std::to_string(geometry.ways) + " ways: entries must be a positive multiple of ways");
    if (replacement_ == Replacement::plru && (!std::has_single_bit(ways_) || ways_ > 64))
      throw ConfigError("tree-PLRU needs a power of two of ways up to 64, not " + std::to_string(ways_));
    power_of_two_sets_ = std::has_single_bit(sets_);
    keys_.resize(geometry.entries);
    stamps_.resize(geometry.entries);
    payloads_.resize(geometry.entries);
    trees_.resize(replacement_ == Replacement::plru ? sets_ : 0);
  }

  Slot find(std::uint64_t key, std::uint64_t index) const {
    const Slot base = set_base(index);
    const std::uint64_t* const keys = keys_.data() + base;
    for (std::uint32_t way = 0; way < ways_; ++way)
      if (keys[way] == key) return base + way;
    return kMiss;
  }

  void touch(Slot slot, std::uint64_t now) {
    if (replacement_ == Replacement::lru) [[likely]] {
      stamps_[slot] = now;
    } else if (replacement_ == Replacement::plru) {
      point_away_from(slot);
    }
  }

  /// The way that an insertion into the set of `index` takes: an invalid one, else the victim. Draws from the generator
  /// of `random`.
  Slot choose(std::uint64_t index) { return victim(set_base(index)); }
  /// Puts an entry into a slot that `choose` gave, and touches it.
  void assign(Slot slot, std::uint64_t key, const Payload& payload, std::uint64_t now) {
    keys_[slot] = key;
    payloads_[slot] = payload;
    if (replacement_ == Replacement::fifo) stamps_[slot] = now;
    touch(slot, now);
  }
  /// Where `touch` would write the time, if that is all that it would do.
  std::uint64_t* stamp(Slot slot) { return replacement_ == Replacement::lru ? &stamps_[slot] : nullptr; }
  void erase(Slot slot) {
    keys_[slot] = 0;
    stamps_[slot] = 0;
  }
  template <class Condemned>
  void erase_if(Condemned&& condemned) {
    for (Slot slot = 0; slot < keys_.size(); ++slot)
      if (keys_[slot] != 0 && condemned(keys_[slot])) erase(slot);
  }
  void clear() {
    std::fill(keys_.begin(), keys_.end(), 0);
    std::fill(stamps_.begin(), stamps_.end(), 0);
  }

  std::uint64_t key(Slot slot) const { return keys_[slot]; }
  Payload& operator[](Slot slot) { return payloads_[slot]; }
  const Payload& operator[](Slot slot) const { return payloads_[slot]; }
  std::uint32_t entries() const { return static_cast<std::uint32_t>(keys_.size()); }

 private:
  Slot set_base(std::uint64_t index) const {
    const std::uint64_t set = power_of_two_sets_ ? index & (sets_ - 1) : index % sets_;
    return static_cast<Slot>(set) * ways_;
  }

  Slot victim(Slot base) {
    // Invalid ways have stamp 0, so that for lru and fifo they are the minimum as well.
    if (replacement_ == Replacement::lru || replacement_ == Replacement::fifo) return oldest(base);
    for (std::uint32_t way = 0; way < ways_; ++way)
      if (keys_[base + way] == 0) return base + way;
    if (replacement_ == Replacement::random) return base + static_cast<Slot>(random_() % ways_);
    return base + oldest_of_tree(base / ways_);
  }

  Slot oldest(Slot base) const {
    const std::uint64_t* const stamps = stamps_.data() + base;
    std::uint64_t least = stamps[0];
    std::uint32_t oldest = 0;
    for (std::uint32_t way = 1; way < ways_; ++way) {  // selects, not branches: which way is oldest cannot be predicted
      const bool older = stamps[way] < least;
      least = older ? stamps[way] : least;
      oldest = older ? way : oldest;
    }
    return base + oldest;
  }

  // Tree-PLRU: node n has children 2n and 2n+1, the root is 1; bit n clear means the left half is next to go.
  void point_away_from(Slot slot) {
    std::uint64_t& tree = trees_[slot / ways_];
    const std::uint32_t way = slot % ways_;
    std::uint32_t node = 1;
    for (std::uint32_t half = ways_ / 2; half > 0; half /= 2) {
      const bool right = (way & half) != 0;
      tree = right ? tree & ~(1ull << node) : tree | (1ull << node);
      node = 2 * node + (right ? 1 : 0);
    }
  }
  std::uint32_t oldest_of_tree(Slot set) const {
    std::uint32_t node = 1;
    while (node < ways_) node = 2 * node + static_cast<std::uint32_t>((trees_[set] >> node) & 1);
    return node - ways_;
  }

  std::uint32_t ways_;
  std::uint32_t sets_;
  bool power_of_two_sets_;
  Replacement replacement_;
  SplitMix64 random_;
  std::vector<std::uint64_t> keys_;
  std::vector<std::uint64_t> stamps_;
  std::vector<Payload> payloads_;
  std::vector<std::uint64_t> trees_;
};

}  // namespace vmem::hw
