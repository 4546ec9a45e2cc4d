// The unit of a page-compact trace, and of accesses that go from page to page.
#pragma once

#include <cstdint>

#include "core/access.hpp"
#include "core/address.hpp"

namespace vmem {

/// Consecutive references of one stream (fetches, or data) to one 4 KiB page.
///
/// Runs are in the order of their first references. A data run that began with a load holds loads only, so the first
/// store to a page always begins a run; a data run that began with a store may hold any mix. The other stream may make
/// references in between: with separate L1 TLBs for instructions and data they cannot change what this run does after
/// its first reference.
struct Run {
  std::uint64_t page;    ///< address of the page; bits 1:0 hold the AccessKind of the first reference
  std::uint32_t loads;   ///< fetches, when the run is one of fetches
  std::uint32_t stores;  ///< 0 unless the run began with a store

  friend bool operator==(const Run&, const Run&) = default;
};
static_assert(sizeof(Run) == 16);

inline constexpr std::uint64_t kRunKindMask = 3;

constexpr AccessKind first_kind(const Run& run) { return static_cast<AccessKind>(run.page & kRunKindMask); }
constexpr std::uint64_t page_address(const Run& run) { return run.page & ~kPageMask; }

/// Whether the counts suit the kind: a run that began with a store has some, any other has none and is not empty.
constexpr bool has_right_counts(const Run& run) {
  static_assert(static_cast<unsigned>(AccessKind::store) == 1, "bit 0 tells a store from what else there is");
  return ((run.page & 1) != 0) == (run.stores != 0) && (run.loads | run.stores) != 0;
}
/// What a reader of runs may rely on, whoever made them.
constexpr bool well_formed(const Run& run) { return (run.page & kPageMask) < kAccessKinds && has_right_counts(run); }

/// References of runs of which each is well-formed.
struct RunCounts {
  std::uint64_t loads = 0;  ///< fetches included
  std::uint64_t stores = 0;
  std::uint64_t twice_fetches = 0;

  void add(const Run& run) {
    static_assert(static_cast<unsigned>(AccessKind::fetch) == 2, "what bit 1 is multiplied with counts twice");
    loads += run.loads;
    stores += run.stores;
    twice_fetches += run.loads * (run.page & 2);  // no branch on the kind
  }
  std::uint64_t fetches() const { return twice_fetches / 2; }
};

}  // namespace vmem
