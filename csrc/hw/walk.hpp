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
  enum class Reason : std::uint8_t { leaf, not_present, reserved, table_unreachable, table_read_only };
  Reason reason = Reason::leaf;
  int level = 0;
  std::uint64_t at = 0;  ///< where that entry stands
  std::uint64_t entry = 0;
  paging::Rights rights = 0;  ///< accumulated, that entry included
};

/// Walks from `cursor` to a leaf or to the entry that stops the walk. The leaf's rights are not judged and its A and D
/// bits not set: the caller does.
///
/// A Dimension gives: `read(at)`, the counted read of an entry; `reserved()`; `mark_used(at, entry, cursor)`, which
/// sets A of an entry that names a table and may refuse (false: table_read_only); `descend(address, next, cursor)`,
/// which moves the cursor to the table `next` and caches the way, or fails (false: table_unreachable). It may give
/// `tell(cursor, at, entry)`, which is then told of each entry read.
template <const paging::Format& kFormat, class Dimension>
inline WalkEnd walk(Dimension& dimension, std::uint64_t address, Cursor& cursor) {
  using Reason = WalkEnd::Reason;
  for (;;) {
    const std::uint64_t at = cursor.table + 8ull * paging::table_index(address, cursor.level);
    const std::uint64_t entry = dimension.read(at);
    if constexpr (requires { dimension.tell(cursor, at, entry); }) dimension.tell(cursor, at, entry);
    WalkEnd end{Reason::leaf, cursor.level, at, entry,
                static_cast<paging::Rights>(cursor.rights & kFormat.rights(entry))};
    if (!kFormat.is_present(entry)) {
      end.reason = Reason::not_present;
      return end;
    }
    const bool leaf = kFormat.is_leaf(entry, cursor.level);
    if (dimension.reserved().violated(entry, cursor.level, leaf)) {
      end.reason = Reason::reserved;
      return end;
    }
    if (leaf) return end;
    if (!dimension.mark_used(at, entry, cursor)) {
      end.reason = Reason::table_read_only;
      return end;
    }
    cursor.rights = end.rights;
    if (!dimension.descend(address, entry & kFormat.address, cursor)) {
      end.reason = Reason::table_unreachable;
      return end;
    }
  }
}

}  // namespace vmem::hw
