// The page-table walk: one loop for every format and both dimensions.
//
// What differs between formats is data (paging/format.hpp). What differs between one and two dimensions is how the next
// table is reached: the Dimension. Dimensions are in hw/walker.hpp.
#pragma once

#include <cstdint>

#include "paging/format.hpp"
#include "paging/reserved.hpp"

namespace vmem::hw {

/// Where a walk is: the table it reads next.
struct Cursor {
  std::uint64_t table = 0;      ///< where the walker reads it
  std::uint64_t table_gpa = 0;  ///< as the entry above (or CR3) named it
  int level = 0;
  paging::Rights rights = paging::kAllRights;        ///< accumulated so far
  paging::Rights table_rights = paging::kAllRights;  ///< what the second stage permits in that table
};

/// The entry a walk ended at.
struct WalkEnd {
  enum class Reason : std::uint8_t {
    leaf,
    not_present,
    reserved,
    table_unreachable,
    table_read_only,
    table  ///< not an end: the walk goes on below
  };
  Reason reason = Reason::leaf;
  int level = 0;
  std::uint64_t at = 0;  ///< where that entry stands
  std::uint64_t entry = 0;
  paging::Rights rights = 0;  ///< accumulated, that entry included
};

/// Reads the entry for `address` in the cursor's table, which is one of `level`.
template <const paging::Format& kFormat, class Dimension>
[[gnu::always_inline]] inline WalkEnd read_entry(Dimension& dimension, std::uint64_t address, const Cursor& cursor,
                                                 int level) {
  using Reason = WalkEnd::Reason;
  const std::uint64_t at = cursor.table + 8ull * paging::table_index(address, level);
  const std::uint64_t entry = dimension.read(at);
  if constexpr (requires { dimension.tell(cursor, at, entry); }) dimension.tell(cursor, at, entry);
  const bool leaf = kFormat.is_leaf(entry, level);
  const Reason reason = !kFormat.is_present(entry)                          ? Reason::not_present
                        : dimension.reserved().violated(entry, level, leaf) ? Reason::reserved
                        : leaf                                              ? Reason::leaf
                                                                            : Reason::table;
  return {reason, level, at, entry, static_cast<paging::Rights>(cursor.rights & kFormat.rights(entry))};
}

/// The part of `walk` above level 1. Reason::table: the cursor stands at a table of level 1.
template <const paging::Format& kFormat, class Dimension>
[[gnu::noinline]] WalkEnd walk_down(Dimension& dimension, std::uint64_t address, Cursor& cursor) {
  using Reason = WalkEnd::Reason;
  for (;;) {
    WalkEnd end = read_entry<kFormat>(dimension, address, cursor, cursor.level);
    if (end.reason != Reason::table) return end;
    if (!dimension.mark_used(end.at, end.entry, cursor)) {
      end.reason = Reason::table_read_only;
      return end;
    }
    cursor.rights = end.rights;
    if (!dimension.descend(address, end.entry & kFormat.address, cursor)) {
      end.reason = Reason::table_unreachable;
      return end;
    }
    if (cursor.level == 1) return end;
  }
}

/// Walks from `cursor` to a leaf or to the entry that stops the walk. The leaf's rights are not judged and its A and D
/// bits not set: the caller does.
///
/// A Dimension gives: `read(at)`, the counted read of an entry; `reserved()`; `mark_used(at, entry,
/// cursor)`, which sets A of an entry that names a table and may refuse (false: table_read_only); `descend(address,
/// next, cursor)`, which moves the cursor to the table `next` and caches the way, or fails (false: table_unreachable).
/// It may give `tell(cursor, at, entry)`, which is then told of each entry read.
template <const paging::Format& kFormat, class Dimension>
[[gnu::always_inline]] inline WalkEnd walk(Dimension& dimension, std::uint64_t address, Cursor& cursor) {
  // Most walks begin at level 1, where a paging-structure cache led them: that part is compiled for this level.
  if (cursor.level != 1) [[unlikely]] {
    Cursor lower = cursor;  // so that the caller's can stay in registers
    const WalkEnd end = walk_down<kFormat>(dimension, address, lower);
    cursor = lower;
    if (end.reason != WalkEnd::Reason::table) return end;
  }
  return read_entry<kFormat>(dimension, address, cursor, 1);
}

}  // namespace vmem::hw
