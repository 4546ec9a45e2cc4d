// Where in a cache each key stands, so that no set of many ways is searched.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace vmem::hw {

/// A chained hash table of the valid slots of a cache; the cache holds the keys.
class KeyIndex {
 public:
  using Slot = std::uint32_t;
  static constexpr Slot kNone = ~Slot{0};

  void resize(std::size_t slots) {
    next_.resize(slots, kNone);
    first_.assign(std::bit_ceil(4 * slots), kNone);  // so many that chains are short, which processors foresee
    mask_ = first_.size() - 1;
  }
  void clear() { std::fill(first_.begin(), first_.end(), kNone); }

  /// The slot of `key`; kNone if there is none. `key_of(slot)` is what it was inserted with.
  template <class KeyOf>
  [[gnu::always_inline]] Slot find(std::uint64_t key, KeyOf&& key_of) const {
    Slot slot = first_[bucket(key)];
    while (slot != kNone && key_of(slot) != key) slot = next_[slot];
    return slot;
  }
  /// `slot` was inserted with `old_key`, unless that is 0, and has `new_key` from now on.
  void replace(Slot slot, std::uint64_t old_key, std::uint64_t new_key) {
    if (old_key != 0) remove(slot, old_key);
    insert(slot, new_key);
  }
  /// Precondition: `slot` is not in the index.
  void insert(Slot slot, std::uint64_t key) {
    Slot& first = first_[bucket(key)];
    next_[slot] = first;
    first = slot;
  }
  /// Precondition: `slot` was inserted with `key`.
  void remove(Slot slot, std::uint64_t key) {
    Slot* at = &first_[bucket(key)];
    while (*at != slot) at = &next_[*at];
    *at = next_[slot];
  }

 private:
  std::size_t bucket(std::uint64_t key) const { return ((key * 0x9e37'79b9'7f4a'7c15) >> 32) & mask_; }

  std::vector<Slot> first_;  ///< of each chain
  std::vector<Slot> next_;   ///< of each slot
  std::size_t mask_ = 0;
};

}  // namespace vmem::hw
