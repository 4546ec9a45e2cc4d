#include "paging/reserved.hpp"

namespace vmem::paging {
namespace {

std::uint64_t above(int maxphyaddr) { return maxphyaddr >= 52 ? 0 : kAddressBits & ~((1ull << maxphyaddr) - 1); }

/// Address bits of a leaf below its page size, from bit `from` up.
std::uint64_t below_page(int level, int from) { return ((1ull << level_shift(level)) - 1) & ~((1ull << from) - 1); }

ReservedBits common(const Format& format, int maxphyaddr, bool one_gib_pages, int first_leaf_address_bit) {
  ReservedBits bits;
  for (std::size_t level = 1; level <= kMaxLevels; ++level) {
    bits.table[level] = above(maxphyaddr) | format.low_reserved_in_table;
    bits.leaf[level] = above(maxphyaddr);
    if (level > kMaxLeafLevel) bits.table[level] |= format.leaf;
    if (level > 1) bits.leaf[level] |= below_page(static_cast<int>(level), first_leaf_address_bit);
  }
  if (!one_gib_pages) bits.leaf[kMaxLeafLevel] |= format.leaf;
  return bits;
}

}  // namespace

ReservedBits reserved_bits_x86_64(int maxphyaddr, bool nxe, bool one_gib_pages) {
  ReservedBits bits = common(x86_64, maxphyaddr, one_gib_pages, 13);
  for (std::size_t level = 1; level <= kMaxLevels && !nxe; ++level) {
    bits.table[level] |= x86_64.no_execute;
    bits.leaf[level] |= x86_64.no_execute;
  }
  return bits;
}

ReservedBits reserved_bits_npt(int maxphyaddr, bool one_gib_pages) {
  ReservedBits bits = reserved_bits_x86_64(maxphyaddr, true, one_gib_pages);
  for (std::size_t level = kMaxLeafLevel + 1; level <= kMaxLevels; ++level) bits.table[level] |= x86_64.global;
  return bits;
}

ReservedBits reserved_bits_ept(int maxphyaddr, bool one_gib_pages, bool execute_only) {
  ReservedBits bits = common(ept, maxphyaddr, one_gib_pages, 12);
  const unsigned bad_rights = (1u << 0b010) | (1u << 0b110) | (execute_only ? 0u : 1u << 0b100);
  const unsigned bad_memory_types = (1u << 2) | (1u << 3) | (1u << 7);
  for (unsigned low = 0; low < 64; ++low) {
    const std::uint64_t rights_are_bad = (bad_rights >> (low & 7)) & 1,
                        type_is_bad = (bad_memory_types >> (low >> 3)) & 1;
    bits.bad_table |= rights_are_bad << low;
    bits.bad_leaf |= (rights_are_bad | type_is_bad) << low;
  }
  return bits;
}

}  // namespace vmem::paging
