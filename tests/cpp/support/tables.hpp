// Page tables made by hand, entry by entry, in a physical memory.
#pragma once

#include <cstdint>

#include "memory/physical_memory.hpp"
#include "paging/format.hpp"

namespace vmem::test {

inline constexpr std::uint64_t kPresent = 1, kWritable = 2, kUserPage = 4, kLarge = 0x80, kGlobalPage = 0x100;
inline constexpr std::uint64_t kNoExecute = 1ull << 63;

/// Takes frames for tables upwards from `first_frame`; never gives any back.
class Tables {
 public:
  Tables(memory::PhysicalMemory& memory, std::uint64_t first_frame, std::uint64_t table_flags)
      : memory_(memory), next_(first_frame), table_flags_(table_flags) {}

  std::uint64_t new_table() { return next_++ << 12; }
  /// Puts `entry` where the leaf for `address` stands, making tables above it. Returns where that is.
  std::uint64_t map(std::uint64_t root, int levels, std::uint64_t address, int leaf_level, std::uint64_t entry) {
    std::uint64_t at = slot(root, address, levels);
    for (int level = levels; level > leaf_level; --level) {
      auto above = memory_.load<std::uint64_t>(at);
      if (above == 0) memory_.store(at, above = new_table() | table_flags_);
      at = slot(above & paging::kAddressBits, address, level - 1);
    }
    memory_.store(at, entry);
    return at;
  }

 private:
  static std::uint64_t slot(std::uint64_t table, std::uint64_t address, int level) {
    return table + (address >> (12 + 9 * (level - 1))) % 512 * 8;
  }

  memory::PhysicalMemory& memory_;
  std::uint64_t next_;
  std::uint64_t table_flags_;
};

}  // namespace vmem::test
