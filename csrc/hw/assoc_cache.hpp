// A set-associative cache of anything, with the replacement policies that TLBs and paging-structure caches have.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/rng.hpp"
#include "hw/key_index.hpp"

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
    const bool power_of_two_sets = std::has_single_bit(sets_);
    search_ = ways_ > 4 ? Search::by_index : ways_ == 4 && power_of_two_sets ? Search::four_ways : Search::one_by_one;
    simple_choice_ = search_ == Search::four_ways && replacement_ == Replacement::lru;
    keys_.resize(geometry.entries);
    touched_.resize(geometry.entries);
    payloads_.resize(geometry.entries);
    inserted_.resize(replacement_ == Replacement::fifo ? geometry.entries : 0);
    if (search_ == Search::by_index) index_.resize(geometry.entries);
  }

  [[gnu::always_inline]] Slot find(std::uint64_t key, std::uint64_t index) const {
    if (search_ == Search::four_ways) [[likely]] {
      const Slot base = base_of_four(index);
      const std::uint64_t* const set = &keys_[base];
      // Sums, not branches: which way it is cannot be predicted.
      const Slot way = Slot{set[1] == key} + 2 * Slot{set[2] == key} + 3 * Slot{set[3] == key};
      return set[way] == key ? base + way : kMiss;
    }
    if (search_ == Search::by_index) [[likely]]
      return index_.find(key, keys_.data());
    return find_one_by_one(key, index);
  }

  void touch(Slot slot, std::uint64_t now) { touched_[slot] = now; }
  /// Where `touch` writes the time, which is all that it does.
  std::uint64_t* stamp(Slot slot) { return &touched_[slot]; }

  /// The way that an insertion into the set of `index` takes: an invalid one, else the victim. Draws from the generator
  /// of `random`.
  [[gnu::always_inline]] Slot choose(std::uint64_t index) {
    if (simple_choice_) [[likely]] {
      const Slot base = base_of_four(index);
      return base + oldest_of_four(&touched_[base]).way;
    }
    return choose_in_any_set(set_base(index));
  }
  /// Puts an entry into a slot that `choose` gave, and touches it.
  [[gnu::always_inline]] void assign(Slot slot, std::uint64_t key, const Payload& payload, std::uint64_t now) {
    if (!simple_choice_) note_assignment(slot, key, now);
    keys_[slot] = key;
    touched_[slot] = now;
    payloads_[slot] = payload;
  }
  void erase(Slot slot) {
    if (keys_[slot] == 0) return;
    if (search_ == Search::by_index) index_.remove(slot, keys_[slot]);
    keys_[slot] = 0;
    if (replacement_ == Replacement::lru) touched_[slot] = 0;
    if (replacement_ == Replacement::fifo) inserted_[slot] = 0;
  }
  template <class Condemned>
  void erase_if(Condemned&& condemned) {
    for (Slot slot = 0; slot < keys_.size(); ++slot)
      if (key(slot) != 0 && condemned(key(slot))) erase(slot);
  }
  void clear() {
    for (Slot slot = 0; slot < keys_.size(); ++slot) erase(slot);
  }

  std::uint64_t key(Slot slot) const { return keys_[slot]; }
  Payload& operator[](Slot slot) { return payloads_[slot]; }
  const Payload& operator[](Slot slot) const { return payloads_[slot]; }
  std::uint32_t entries() const { return static_cast<std::uint32_t>(keys_.size()); }

 private:
  /// How a key is found. The first is that of most caches of a processor, the second pays for itself beyond.
  enum class Search : std::uint8_t { four_ways, by_index, one_by_one };

  Slot base_of_four(std::uint64_t index) const { return (static_cast<Slot>(index) & (sets_ - 1)) * 4; }
  Slot set_base(std::uint64_t index) const { return static_cast<Slot>(index % sets_) * ways_; }

  [[gnu::noinline]] Slot find_one_by_one(std::uint64_t key, std::uint64_t index) const {
    const Slot base = set_base(index);
    for (Slot way = 0; way < ways_; ++way)
      if (keys_[base + way] == key) return base + way;
    return kMiss;
  }
  /// What an assignment changes besides the slot itself.
  void note_assignment(Slot slot, std::uint64_t key, std::uint64_t now) {
    if (search_ == Search::by_index) {
      if (keys_[slot] != 0) index_.remove(slot, keys_[slot]);
      index_.insert(slot, key);
    }
    if (replacement_ == Replacement::fifo) inserted_[slot] = now;
  }

  [[gnu::noinline]] Slot choose_in_any_set(Slot base) {
    if (replacement_ == Replacement::lru) return base + oldest(&touched_[base]);
    if (replacement_ == Replacement::fifo) return base + oldest(&inserted_[base]);
    for (Slot slot = base; slot < base + ways_; ++slot)
      if (key(slot) == 0) return slot;
    if (replacement_ == Replacement::random) return base + static_cast<Slot>(random_() % ways_);
    return oldest_half_by_half(base);
  }

  struct Oldest {
    std::uint64_t time;
    std::uint32_t way;
  };
  /// The way with the least time; of equals, the first. Invalid ways have 0.
  std::uint32_t oldest(const std::uint64_t* times) const {
    Oldest oldest{~std::uint64_t{0}, 0};
    std::uint32_t way = 0;
    for (; way + 4 <= ways_; way += 4) oldest = older(oldest, oldest_of_four(times + way), way);
    for (; way < ways_; ++way) oldest = older(oldest, {times[way], 0}, way);
    return oldest.way;
  }
  [[gnu::always_inline]] static Oldest oldest_of_four(const std::uint64_t* times) {
    const auto first = Oldest{std::min(times[0], times[1]), std::uint32_t{times[1] < times[0]}};
    const auto second = Oldest{std::min(times[2], times[3]), std::uint32_t{times[3] < times[2]}};
    return older(first, second, 2);
  }
  /// `a`, or `b` with `shift` added to its way. Arithmetic: which one is older cannot be predicted, and compilers make
  /// branches of selects here.
  [[gnu::always_inline]] static Oldest older(const Oldest& a, const Oldest& b, std::uint32_t shift) {
    const std::uint32_t is_b = 0 - std::uint32_t{b.time < a.time};
    return {std::min(a.time, b.time), a.way ^ ((a.way ^ (b.way + shift)) & is_b)};
  }

  /// Tree-PLRU. The bit of a node tells in which half of its ways the latest touch was, and the times of touches tell
  /// the same; so those of ways that have become invalid are kept.
  Slot oldest_half_by_half(Slot slot) const {
    const auto latest = [&](Slot first, std::uint32_t count) {
      std::uint64_t time = 0;
      for (Slot at = first; at < first + count; ++at) time = std::max(time, touched_[at]);
      return time;
    };
    for (std::uint32_t half = ways_ / 2; half > 0; half /= 2)
      if (latest(slot, half) > latest(slot + half, half)) slot += half;
    return slot;
  }

  std::uint32_t ways_;
  std::uint32_t sets_;
  Search search_;
  bool simple_choice_;  ///< the least recently used one of four
  Replacement replacement_;
  SplitMix64 random_;
  // One element for each slot.
  std::vector<std::uint64_t> keys_;
  std::vector<std::uint64_t> touched_;  ///< lru: 0 where invalid
  std::vector<Payload> payloads_;
  std::vector<std::uint64_t> inserted_;  ///< fifo only: 0 where invalid
  KeyIndex index_;                       ///< of sets with many ways only
};

}  // namespace vmem::hw
