// Which pages a trace touches, and how.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/run.hpp"

namespace vmem::sim {

/// A range of pages with the access rights that a trace needs there.
struct Region {
  std::uint64_t start;
  std::uint64_t length;
  bool write;
  bool execute;

  friend bool operator==(const Region&, const Region&) = default;
};

/// The set of pages touched, as an open-addressing hash table: 16 bytes a slot, at most half of them used.
class TouchedPages {
 public:
  TouchedPages() : slots_(1024) {}

  void add(std::uint64_t address, AccessKind kind) {
    const std::uint64_t page = address & ~kPageMask;
    const auto right = static_cast<std::uint8_t>(1u << static_cast<unsigned>(kind));
    Slot& slot = find(page);
    if (slot.rights == 0) {
      insert(slot, page, right);
    } else {
      slot.rights |= right;
    }
  }

  void add(std::span<const std::uint64_t> addresses, std::span<const std::uint8_t> kinds) {
    for (std::size_t i = 0; i < addresses.size(); ++i) add(addresses[i], static_cast<AccessKind>(kinds[i]));
  }

  void add(std::span<const Run> runs) {
    for (const Run& run : runs) add(run.page, first_kind(run));
  }

  std::size_t count() const { return count_; }

  /// The pages touched for the first time since the last call, in that order.
  std::vector<std::uint64_t> take_new();

  /// Ascending ranges that cover every page touched. Neighbours with code (fetched from) and without are kept apart;
  /// pages of one sort with at most `bridge` bytes of untouched addresses between them are one range, writable if any
  /// page of it was written.
  std::vector<Region> regions(std::uint64_t bridge) const;

 private:
  struct Slot {
    std::uint64_t page = 0;
    std::uint8_t rights = 0;  ///< bit per AccessKind; 0 marks a free slot
  };

  Slot& find(std::uint64_t page) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = static_cast<std::size_t>((page >> kPageShift) * 0x9e3779b97f4a7c15ull >> 20) & mask;
    while (slots_[i].rights != 0 && slots_[i].page != page) i = (i + 1) & mask;
    return slots_[i];
  }

  void insert(Slot& slot, std::uint64_t page, std::uint8_t rights);

  std::vector<Slot> slots_;
  std::vector<std::uint64_t> fresh_;
  std::size_t count_ = 0;
};

}  // namespace vmem::sim
