// The bits of an entry that must be zero, given the processor and its control registers.
#pragma once

#include <array>
#include <cstdint>

#include "paging/format.hpp"

namespace vmem::paging {

/// Indexed by level. An entry with a bit of its mask set is a reserved-bit fault (x86-64) or a misconfiguration (EPT).
struct ReservedBits {
  std::array<std::uint64_t, kMaxLevels + 1> table{};
  std::array<std::uint64_t, kMaxLevels + 1> leaf{};
  /// EPT: bit n is set if an entry with n in bits 5:0 is misconfigured: by its rights, bits 2:0, and a leaf also by its
  /// memory type, bits 5:3.
  std::uint64_t bad_table = 0, bad_leaf = 0;

  constexpr bool violated(std::uint64_t entry, int level, bool is_leaf) const {
    const auto at = static_cast<std::size_t>(level);
    const std::uint64_t mask = is_leaf ? leaf[at] : table[at], bad = is_leaf ? bad_leaf : bad_table;
    return (entry & mask) != 0 || ((bad >> (entry & 63)) & 1) != 0;
  }
};

/// SDM vol. 3, 4.5.4: bits 51:MAXPHYADDR, NX without EFER.NXE, PS where no leaf can be, low address bits of a large
/// leaf (bit 12 is PAT).
ReservedBits reserved_bits_x86_64(int maxphyaddr, bool nxe, bool one_gib_pages);
/// Of nested tables (AMD APM vol. 2, 5.3.3 and 15.25.5): as x86-64 with NXE, and bit 8 of PML5E and PML4E.
ReservedBits reserved_bits_npt(int maxphyaddr, bool one_gib_pages);
/// SDM vol. 3, 29.3.3.1.
ReservedBits reserved_bits_ept(int maxphyaddr, bool one_gib_pages, bool execute_only);

}  // namespace vmem::paging
