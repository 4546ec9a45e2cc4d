// Copies of the pages of code that a CPU emulator translates, which it does ahead of their execution.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>

#include "core/address.hpp"
#include "memory/mapping.hpp"

namespace vmem::sim {

/// An emulator reads code long before it executes it, and would do so through addresses that have meanwhile come to
/// hold something else. So it reads copies. A copy is `current` only if it has been compared with the memory since the
/// slice began and since the last store to its page; whoever executes from one that is not compares it first.
///
/// A copy that turned out to be wrong gets another slot, since the emulator knows what it translated by its slot.
class CodeCopies {
 public:
  using Bytes = std::span<const std::byte, kPageSize>;
  static constexpr std::uint64_t kSlots = 1 << 14;
  /// What a page holds that is not there (yet): HLT. It ends what the emulator translates, and is never executed.
  static constexpr std::byte kAbsent{0xf4};

  CodeCopies() : memory_(kSlots << kPageShift) {}

  std::byte* data() const { return memory_.data(); }
  std::uint64_t size() const { return memory_.size(); }

  bool has(std::uint64_t page) const { return pages_.contains(page); }
  /// Where in `data` the copy of that page is.
  std::uint64_t offset(std::uint64_t page) const { return pages_.at(page).slot << kPageShift; }
  /// A first copy, which is not current; without bytes one of a page that is absent. Must have room.
  void add(std::uint64_t page, const std::optional<Bytes>& bytes);
  bool is_current(std::uint64_t page) const {
    const auto at = pages_.find(page);
    return at != pages_.end() && at->second.current;
  }
  /// Makes the copy current. False: it was wrong, and is in another slot now. Must have room.
  bool compare(std::uint64_t page, Bytes bytes);
  /// The page has been stored to.
  void outdate(std::uint64_t page) {
    if (page < lowest_ || page > highest_) [[likely]]
      return;
    if (const auto at = pages_.find(page); at != pages_.end()) at->second.current = false;
  }
  void outdate_all();

  /// No slot may be left: the emulator must forget all it has translated, and `clear` this.
  bool is_full() const { return used_ + 2 > kSlots; }
  void clear();
  /// One byte of code, as it was copied; HLT where there is no copy.
  std::byte at(Gva address) const;

 private:
  struct Copy {
    std::uint64_t slot;
    bool current;
  };
  std::byte* bytes_of(std::uint64_t slot) const { return memory_.data() + (slot << kPageShift); }

  memory::LazyMapping memory_;
  std::unordered_map<std::uint64_t, Copy> pages_;  ///< by number of the virtual page
  std::uint64_t used_ = 0;
  std::uint64_t lowest_ = ~0ull, highest_ = 0;
};

}  // namespace vmem::sim
