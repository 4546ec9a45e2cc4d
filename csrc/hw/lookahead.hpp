// Reads ahead of page walks: a walk waits mostly for leaf entries that no cache of the simulating machine holds.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "paging/format.hpp"

namespace vmem::hw {

/// Where the leaf tables of the regions walked lately lie. A guess: nobody corrects it when tables move, so it may only
/// decide what is asked for early.
class TableHints {
 public:
  void note(std::uint64_t address, std::uint64_t table) { word(address) = table | tag(address); }
  /// Where the leaf entry of `address` probably stands; anything if its table is not known.
  std::uint64_t leaf_entry(std::uint64_t address) const {
    const std::uint64_t held = words_[index(address)];
    const std::uint64_t entry = (held & ~kPageMask) + 8ull * paging::table_index(address, 1);
    return (held & kPageMask) == tag(address) ? entry : 0;
  }

 private:
  static constexpr unsigned kIndexBits = 12;
  static std::uint64_t region(std::uint64_t address) { return address >> paging::level_shift(2); }
  static std::size_t index(std::uint64_t address) { return region(address) & ((1u << kIndexBits) - 1); }
  static std::uint64_t tag(std::uint64_t address) { return (region(address) >> kIndexBits) & kPageMask; }
  std::uint64_t& word(std::uint64_t address) { return words_[index(address)]; }

  std::array<std::uint64_t, 1 << kIndexBits> words_{};  ///< address of a table | tag of the region
};

/// Follows a batch whose elements are about one page each. Does something only where walks follow one another closely.
class Lookahead {
 public:
  /// Element `i` of `count` was walked for. `first(j)` asks for the first leaf entry that element j will need, and
  /// `second(j)`, some elements later, for the one that follows from it.
  template <class First, class Second>
  void walked(std::size_t i, std::size_t count, First&& first, Second&& second) {
    close_in_a_row_ = i - latest_ <= kClose ? close_in_a_row_ + 1 : 0;
    latest_ = i;
    if (close_in_a_row_ < kEnoughInARow) {
      first_ = second_ = i + 1;
      return;
    }
    for (const std::size_t stop = std::min(count, i + 1 + 2 * kDistance); first_ < stop; ++first_) first(first_);
    for (const std::size_t stop = std::min(count, i + 1 + kDistance); second_ < stop; ++second_) second(second_);
  }

 private:
  static constexpr std::size_t kClose = 4;      ///< elements from one walk to the next
  static constexpr unsigned kEnoughInARow = 4;  ///< close walks: until then it would cost more than it saves
  static constexpr std::size_t kDistance = 8;   ///< elements: a few times as long as memory takes to answer

  std::size_t latest_ = 0;
  unsigned close_in_a_row_ = 0;
  std::size_t first_ = 0, second_ = 0;  ///< elements that have not been asked for
};

}  // namespace vmem::hw
