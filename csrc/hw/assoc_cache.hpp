// A set-associative cache of anything, with the replacement policies that TLBs and paging-structure caches have.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/rng.hpp"
#include "hw/key_digests.hpp"

namespace vmem::hw {

enum class Replacement : std::uint8_t { lru, plru, fifo, random };

struct CacheGeometry {
  std::uint32_t entries = 0;
  std::uint32_t ways = 0;  ///< entries / ways sets; ways == entries is fully associative
  Replacement replacement = Replacement::lru;
  std::uint64_t seed = 0;  ///< of `random`
};

/// Maps 64-bit keys to payloads. Key 0 is an invalid way. Knows nothing of addresses: `index` picks the set, `key` is
/// all that is compared, and a key always comes with the same index. Replacement as docs/design/mmu.md fixes it; `now`
/// is the caller's time, which grows with every touch.
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
    slots_.resize(geometry.entries);
    digests_.resize(geometry.entries);
    inserted_.resize(replacement_ == Replacement::fifo ? geometry.entries : 0);
  }

  [[gnu::always_inline]] Slot find(std::uint64_t key, std::uint64_t index) const {
    const Slot base = set_base(index);
    if (ways_ > kSearchedOneByOne)
      return digests_.find(base, ways_, key, [&](Slot slot) { return slots_[slot].key == key; });
    const Way* const set = &slots_[base];
    if (ways_ == 4) [[likely]] {  // a trip count that the compiler knows
      for (Slot way = 0; way < 4; ++way)
        if (set[way].key == key) return base + way;
      return kMiss;
    }
    for (Slot way = 0; way < ways_; ++way)
      if (set[way].key == key) return base + way;
    return kMiss;
  }

  void touch(Slot slot, std::uint64_t now) { slots_[slot].touched = now; }
  /// Where `touch` writes the time, which is all that it does.
  std::uint64_t* stamp(Slot slot) { return &slots_[slot].touched; }

  /// The way that an insertion into the set of `index` takes: an invalid one, else the victim. Draws from the generator
  /// of `random`.
  [[gnu::always_inline]] Slot choose(std::uint64_t index) {
    const Slot base = set_base(index);
    if (replacement_ != Replacement::lru) [[unlikely]]
      return choose_by_another_policy(base);
    const Way* const set = &slots_[base];
    return base + oldest([set](std::uint32_t way) { return set[way].touched; });
  }
  /// Puts an entry into a slot that `choose` gave, and touches it.
  [[gnu::always_inline]] void assign(Slot slot, std::uint64_t key, const Payload& payload, std::uint64_t now) {
    slots_[slot] = {key, now, payload};
    if (ways_ > kSearchedOneByOne) digests_.set(slot, key);
    if (replacement_ == Replacement::fifo) [[unlikely]]
      inserted_[slot] = now;
  }
  void erase(Slot slot) {
    slots_[slot].key = 0;
    digests_.reset(slot);
    if (replacement_ == Replacement::lru) slots_[slot].touched = 0;
    if (replacement_ == Replacement::fifo) inserted_[slot] = 0;
  }
  template <class Condemned>
  void erase_if(Condemned&& condemned) {
    for (Slot slot = 0; slot < slots_.size(); ++slot)
      if (key(slot) != 0 && condemned(key(slot))) erase(slot);
  }
  void clear() {
    for (Slot slot = 0; slot < slots_.size(); ++slot) erase(slot);
  }

  std::uint64_t key(Slot slot) const { return slots_[slot].key; }
  Payload& operator[](Slot slot) { return slots_[slot].payload; }
  const Payload& operator[](Slot slot) const { return slots_[slot].payload; }
  std::uint32_t entries() const { return static_cast<std::uint32_t>(slots_.size()); }

 private:
  struct Way {
    std::uint64_t key = 0;
    std::uint64_t touched = 0;  ///< lru: 0 where invalid
    Payload payload{};
  };

  Slot set_base(std::uint64_t index) const {
    if (power_of_two_sets_) [[likely]]
      return (static_cast<Slot>(index) & (sets_ - 1)) * ways_;
    return static_cast<Slot>(index % sets_) * ways_;
  }

  [[gnu::noinline]] Slot choose_by_another_policy(Slot base) {
    if (replacement_ == Replacement::fifo)
      return base + oldest([&](std::uint32_t way) { return inserted_[base + way]; });
    for (Slot slot = base; slot < base + ways_; ++slot)
      if (key(slot) == 0) return slot;
    if (replacement_ == Replacement::random) return base + static_cast<Slot>(random_() % ways_);
    return oldest_half_by_half(base);
  }

  /// The way with the least `time(way)`; of equals, the first. Invalid ways have 0. Selects, not branches: which way is
  /// oldest cannot be predicted. By fours, because counting costs as much as comparing.
  template <class Time>
  [[gnu::always_inline]] std::uint32_t oldest(Time&& time) const {
    std::uint64_t least = ~std::uint64_t{0};
    std::uint32_t oldest = 0;
    const auto consider = [&](std::uint32_t way) {
      const std::uint64_t then = time(way);
      const bool older = then < least;
      least = older ? then : least;
      oldest = older ? way : oldest;
    };
    if (ways_ == 4) [[likely]] {
      for (std::uint32_t way = 0; way < 4; ++way) consider(way);
      return oldest;
    }
    std::uint32_t way = 0;
    for (; way + 4 <= ways_; way += 4)
      for (std::uint32_t i = 0; i < 4; ++i) consider(way + i);
    for (; way < ways_; ++way) consider(way);
    return oldest;
  }

  /// Tree-PLRU. The bit of a node tells in which half of its ways the latest touch was, and the times of touches tell
  /// the same; so those of ways that have become invalid are kept.
  Slot oldest_half_by_half(Slot slot) const {
    const auto latest = [&](Slot first, std::uint32_t count) {
      std::uint64_t time = 0;
      for (Slot at = first; at < first + count; ++at) time = std::max(time, slots_[at].touched);
      return time;
    };
    for (std::uint32_t half = ways_ / 2; half > 0; half /= 2)
      if (latest(slot, half) > latest(slot + half, half)) slot += half;
    return slot;
  }

  static constexpr std::uint32_t kSearchedOneByOne = 4;  ///< ways; digests pay for themselves beyond

  std::uint32_t ways_;
  std::uint32_t sets_;
  bool power_of_two_sets_;
  Replacement replacement_;
  SplitMix64 random_;
  std::vector<Way> slots_;
  KeyDigests digests_;
  std::vector<std::uint64_t> inserted_;  ///< fifo only: 0 where invalid
};

}  // namespace vmem::hw
