#include "paging/reserved.hpp"

#include <doctest/doctest.h>

#include <cstdint>

namespace vmem::paging {
namespace {

constexpr int kPageSizeBit = 7;

/// SDM vol. 3, tables 4-15 to 4-20, one bit at a time.
bool reserved_in_x86_64(int bit, int level, bool leaf, int maxphyaddr, bool nxe, bool one_gib_pages) {
  if (bit == 63) return !nxe;
  if (bit >= 52) return false;  // ignored, or a protection key
  if (bit >= maxphyaddr) return true;
  if (bit == kPageSizeBit) return level >= 4 || (level == 3 && !one_gib_pages);
  if (leaf && level == 3) return bit >= 13 && bit <= 29;
  if (leaf && level == 2) return bit >= 13 && bit <= 20;
  return false;  // bit 12 of a large leaf is PAT
}

/// SDM vol. 3, tables 29-1 to 29-7; bits 5:3 of a leaf are a number and not judged bit by bit.
bool reserved_in_ept(int bit, int level, bool leaf, int maxphyaddr, bool one_gib_pages) {
  if (bit >= 52) return false;
  if (bit >= maxphyaddr) return true;
  if (bit == kPageSizeBit) return level >= 4 || (level == 3 && !one_gib_pages);
  if (!leaf) return bit >= 3 && bit <= 6;
  if (level == 3) return bit >= 12 && bit <= 29;
  if (level == 2) return bit >= 12 && bit <= 20;
  return false;
}

/// Calls `use(level, leaf)` for the places where an entry of either sort can stand.
template <class Use>
void for_each_place(Use&& use) {
  for (int level = 1; level <= kMaxLevels; ++level) {
    if (level <= kMaxLeafLevel) use(level, true);
    if (level > 1) use(level, false);
  }
}

TEST_CASE("x86-64: every bit of every entry, for every physical-address width") {
  for (int maxphyaddr = 36; maxphyaddr <= 52; ++maxphyaddr) {
    for (const int features : {0, 1, 2, 3}) {
      const bool nxe = (features & 1) != 0, one_gib_pages = (features & 2) != 0;
      const ReservedBits bits = reserved_bits_x86_64(maxphyaddr, nxe, one_gib_pages);
      for_each_place([&](int level, bool leaf) {
        const std::uint64_t base = 1 | (leaf && level > 1 ? 1ull << kPageSizeBit : 0);
        const bool impossible = leaf && level == 3 && !one_gib_pages;
        CHECK(bits.violated(base, level, leaf) == impossible);
        for (int bit = 1; bit < 64; ++bit) {
          if (leaf && level > 1 && bit == kPageSizeBit) continue;    // set in the base
          if (!leaf && level <= 3 && bit == kPageSizeBit) continue;  // would be a leaf
          CAPTURE(maxphyaddr);
          CAPTURE(features);
          CAPTURE(level);
          CAPTURE(leaf);
          CAPTURE(bit);
          const bool expected = (leaf && level == 1 && bit == kPageSizeBit)
                                    ? false  // PAT
                                    : reserved_in_x86_64(bit, level, leaf, maxphyaddr, nxe, one_gib_pages);
          CHECK(bits.violated(base | 1ull << bit, level, leaf) == (expected || impossible));
        }
      });
    }
  }
}

TEST_CASE("NPT: as x86-64 with NXE, and bit 8 of the upper two levels") {
  for (int maxphyaddr = 36; maxphyaddr <= 52; ++maxphyaddr) {
    for (const bool one_gib_pages : {false, true}) {
      const ReservedBits npt = reserved_bits_npt(maxphyaddr, one_gib_pages);
      const ReservedBits ordinary = reserved_bits_x86_64(maxphyaddr, true, one_gib_pages);
      for (std::size_t level = 1; level <= kMaxLevels; ++level) {
        CAPTURE(level);
        CHECK(npt.leaf[level] == ordinary.leaf[level]);
        CHECK(npt.table[level] == (ordinary.table[level] | (level >= 4 ? 1ull << 8 : 0)));
      }
    }
  }
}

TEST_CASE("EPT: every bit of every entry, for every physical-address width") {
  for (int maxphyaddr = 36; maxphyaddr <= 52; ++maxphyaddr) {
    for (const bool one_gib_pages : {false, true}) {
      const ReservedBits bits = reserved_bits_ept(maxphyaddr, one_gib_pages, true);
      for_each_place([&](int level, bool leaf) {
        const std::uint64_t base = 7 | (leaf && level > 1 ? 1ull << kPageSizeBit : 0) | (leaf ? 6ull << 3 : 0);
        const bool impossible = leaf && level == 3 && !one_gib_pages;
        CHECK(bits.violated(base, level, leaf) == impossible);
        for (int bit = 3; bit < 64; ++bit) {
          if (leaf && bit <= 5) continue;                                // memory type
          if (level <= 3 && level > 1 && bit == kPageSizeBit) continue;  // decides what sort of entry it is
          CAPTURE(maxphyaddr);
          CAPTURE(one_gib_pages);
          CAPTURE(level);
          CAPTURE(leaf);
          CAPTURE(bit);
          const bool expected = (leaf && level == 1 && bit == kPageSizeBit)
                                    ? false  // ignored in a PTE
                                    : reserved_in_ept(bit, level, leaf, maxphyaddr, one_gib_pages);
          CHECK(bits.violated(base | 1ull << bit, level, leaf) == (expected || impossible));
        }
      });
    }
  }
}

TEST_CASE("EPT: rights and memory types that are misconfigurations") {
  for (const bool execute_only : {false, true}) {
    const ReservedBits bits = reserved_bits_ept(46, true, execute_only);
    for (std::uint64_t rights = 1; rights < 8; ++rights) {
      const bool write_without_read = rights == 0b010 || rights == 0b110;
      const bool expected = write_without_read || (rights == 0b100 && !execute_only);
      CAPTURE(rights);
      CHECK(bits.violated(rights, 2, false) == expected);
      for (std::uint64_t type = 0; type < 8; ++type) {
        const bool bad_type = type == 2 || type == 3 || type == 7;
        CAPTURE(type);
        CHECK(bits.violated(rights | type << 3, 1, true) == (expected || bad_type));
        CHECK(bits.violated(rights | type << 3 | 1 << kPageSizeBit, 2, true) == (expected || bad_type));
      }
    }
  }
}

}  // namespace
}  // namespace vmem::paging
