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
#include "hw/recency.hpp"

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
        power_of_two_sets_(std::has_single_bit(sets_)),
        replacement_(geometry.replacement),
        random_(geometry.seed) {
    if (ways_ == 0 || sets_ == 0 || sets_ * ways_ != geometry.entries)
      throw ConfigError("cache of " + std::to_string(geometry.entries) + " entries in " +
                        std::to_string(geometry.ways) + " ways: entries must be a positive multiple of ways");
    if (replacement_ == Replacement::plru && (!std::has_single_bit(ways_) || ways_ > 64))
      throw ConfigError("tree-PLRU needs a power of two of ways up to 64, not " + std::to_string(ways_));
    search_ = ways_ > 4 ? Search::by_index : ways_ == 4 && power_of_two_sets_ ? Search::four_ways : Search::one_by_one;
    choice_ = replacement_ != Replacement::lru ? Choice::by_policy
              : search_ == Search::four_ways   ? Choice::oldest_of_four
              : search_ == Search::by_index    ? Choice::by_order
                                               : Choice::by_policy;
    lines_.resize(geometry.entries);
    inserted_.resize(replacement_ == Replacement::fifo ? geometry.entries : 0);
    if (search_ == Search::by_index) index_.resize(geometry.entries);
    if (choice_ == Choice::by_order) order_.resize(sets_, ways_);
  }

  [[gnu::always_inline]] Slot find(std::uint64_t key, std::uint64_t index) const {
    if (search_ == Search::four_ways) [[likely]] {
      const Slot base = base_of_four(index);
      const Line* const set = &lines_[base];
      // Sums, not branches: which way it is cannot be predicted.
      const Slot way = Slot{set[1].key == key} | Slot{set[2].key == key} << 1 | ((0 - Slot{set[3].key == key}) & 3);
      return set[way].key == key ? base + way : kMiss;
    }
    if (search_ == Search::by_index) [[likely]]
      return index_.find(key, [this](Slot slot) { return lines_[slot].key; });
    return find_one_by_one(key, index);
  }

  void touch(Slot slot, std::uint64_t now) { lines_[slot].touched = now; }
  /// Where `touch` writes the time, which is all that it does.
  std::uint64_t* stamp(Slot slot) { return &lines_[slot].touched; }

  /// The way that an insertion into the set of `index` takes: the first invalid one, else the victim. Draws from the
  /// generator of `random`.
  [[gnu::always_inline]] Slot choose(std::uint64_t index) {
    if (choice_ == Choice::oldest_of_four) [[likely]] {
      const Slot base = base_of_four(index);
      return base + oldest_of_four(&lines_[base]);
    }
    if (choice_ == Choice::by_order) [[likely]]
      return order_.oldest(set_of(index), [this](Slot slot) { return lines_[slot].touched; });
    return choose_by_policy(set_of(index) * ways_);
  }
  /// Puts an entry into the slot that `choose` has just given for `index`, and touches it.
  [[gnu::always_inline]] void assign(Slot slot, std::uint64_t index, std::uint64_t key, const Payload& payload,
                                     std::uint64_t now) {
    if (choice_ != Choice::oldest_of_four) note_assignment(slot, index, key, now);
    lines_[slot] = {key, now, payload};
  }
  void erase(Slot slot) {
    Line& line = lines_[slot];
    if (line.key == 0) return;
    if (search_ == Search::by_index) index_.remove(slot, line.key);
    line.key = 0;
    if (replacement_ == Replacement::lru) line.touched = 0;
    if (choice_ == Choice::by_order) order_.expire(slot);
    if (replacement_ == Replacement::fifo) inserted_[slot] = 0;
  }
  template <class Condemned>
  void erase_if(Condemned&& condemned) {
    for (Slot slot = 0; slot < lines_.size(); ++slot)
      if (key(slot) != 0 && condemned(key(slot))) erase(slot);
  }
  void clear() {
    for (Slot slot = 0; slot < lines_.size(); ++slot) erase(slot);
  }

  std::uint64_t key(Slot slot) const { return lines_[slot].key; }
  Payload& operator[](Slot slot) { return lines_[slot].payload; }
  const Payload& operator[](Slot slot) const { return lines_[slot].payload; }
  std::uint32_t entries() const { return static_cast<std::uint32_t>(lines_.size()); }

 private:
  struct Line {
    std::uint64_t key = 0;
    std::uint64_t touched = 0;  ///< lru: 0 where invalid
    Payload payload{};
  };
  /// How a key is found. The first is that of most caches of a processor, the second pays for itself beyond.
  enum class Search : std::uint8_t { four_ways, by_index, one_by_one };
  /// How a victim is found: two ways for LRU, one for all that is rare.
  enum class Choice : std::uint8_t { oldest_of_four, by_order, by_policy };

  Slot base_of_four(std::uint64_t index) const { return (static_cast<Slot>(index) & (sets_ - 1)) * 4; }
  Slot set_of(std::uint64_t index) const {
    return power_of_two_sets_ ? static_cast<Slot>(index) & (sets_ - 1) : static_cast<Slot>(index % sets_);
  }

  [[gnu::noinline]] Slot find_one_by_one(std::uint64_t key, std::uint64_t index) const {
    const Slot base = set_of(index) * ways_;
    for (Slot way = 0; way < ways_; ++way)
      if (lines_[base + way].key == key) return base + way;
    return kMiss;
  }

  /// What an assignment changes besides the slot itself.
  void note_assignment(Slot slot, std::uint64_t index, std::uint64_t key, std::uint64_t now) {
    if (search_ == Search::by_index) [[likely]]
      index_.replace(slot, lines_[slot].key, key);
    if (choice_ == Choice::by_order) [[likely]]
      order_.renew_oldest(set_of(index), now);
    if (replacement_ == Replacement::fifo) inserted_[slot] = now;
  }

  [[gnu::noinline]] Slot choose_by_policy(Slot base) {
    if (replacement_ == Replacement::lru) return oldest(base, [this](Slot slot) { return lines_[slot].touched; });
    if (replacement_ == Replacement::fifo) return oldest(base, [this](Slot slot) { return inserted_[slot]; });
    for (Slot slot = base; slot < base + ways_; ++slot)
      if (key(slot) == 0) return slot;
    if (replacement_ == Replacement::random) return base + static_cast<Slot>(random_() % ways_);
    return oldest_half_by_half(base);
  }

  /// The slot with the least time; of equals, the first. Invalid ones have 0.
  template <class TimeOf>
  Slot oldest(Slot base, TimeOf&& time_of) const {
    Slot oldest = base;
    for (Slot slot = base + 1; slot < base + ways_; ++slot)
      if (time_of(slot) < time_of(oldest)) oldest = slot;
    return oldest;
  }
  /// The way of the four that was touched longest ago. Arithmetic: which one it is cannot be predicted, and compilers
  /// make branches of selects here.
  [[gnu::always_inline]] static Slot oldest_of_four(const Line* set) {
    const Slot second = Slot{set[1].touched < set[0].touched}, fourth = Slot{set[3].touched < set[2].touched};
    const std::uint64_t first_time = std::min(set[0].touched, set[1].touched);
    const std::uint64_t second_time = std::min(set[2].touched, set[3].touched);
    const Slot is_upper = 0 - Slot{second_time < first_time};
    return second ^ ((second ^ (fourth + 2)) & is_upper);
  }

  /// Tree-PLRU. The bit of a node tells in which half of its ways the latest touch was, and the times of touches tell
  /// the same; so those of ways that have become invalid are kept.
  Slot oldest_half_by_half(Slot slot) const {
    const auto latest = [&](Slot first, std::uint32_t count) {
      std::uint64_t time = 0;
      for (Slot at = first; at < first + count; ++at) time = std::max(time, lines_[at].touched);
      return time;
    };
    for (std::uint32_t half = ways_ / 2; half > 0; half /= 2)
      if (latest(slot, half) > latest(slot + half, half)) slot += half;
    return slot;
  }

  std::uint32_t ways_;
  std::uint32_t sets_;
  bool power_of_two_sets_;
  Search search_;
  Choice choice_;
  Replacement replacement_;
  SplitMix64 random_;
  std::vector<Line> lines_;              ///< of each slot
  std::vector<std::uint64_t> inserted_;  ///< of each slot; fifo only: 0 where invalid
  KeyIndex index_;                       ///< Search::by_index only
  RecencyRing order_;                    ///< Choice::by_order only
};

}  // namespace vmem::hw
