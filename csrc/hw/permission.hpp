// May this access pass? For walks (from rights) and for TLB hits (from the flags an entry holds).
#pragma once

#include <array>
#include <cstdint>

#include "core/access.hpp"
#include "hw/state.hpp"
#include "paging/format.hpp"

namespace vmem::hw {

/// What a TLB entry knows besides its address: the guest's rights, dirty, the second stage's rights, protection key.
using EntryFlags = std::uint16_t;
inline constexpr EntryFlags kEntryDirty = 1 << 0;
inline constexpr EntryFlags kEntryWrite = paging::kWrite;
inline constexpr EntryFlags kEntryExecute = paging::kExecute;
inline constexpr EntryFlags kEntryUser = paging::kUser;
inline constexpr int kEntryHostShift = 4;
inline constexpr EntryFlags kEntryHostRead = paging::kRead << kEntryHostShift;
inline constexpr EntryFlags kEntryHostWrite = paging::kWrite << kEntryHostShift;
inline constexpr EntryFlags kEntryHostExecute = paging::kExecute << kEntryHostShift;
inline constexpr int kEntryKeyShift = 7;
inline constexpr EntryFlags kEntryHostAll = kEntryHostRead | kEntryHostWrite | kEntryHostExecute;
inline constexpr std::size_t kEntryFlagValues = 1 << 11;

constexpr EntryFlags entry_flags(paging::Rights guest, bool dirty, paging::Rights host, unsigned key) {
  static_assert(paging::kRead == kEntryDirty, "the guest's is given whenever a page is present, so its place is free");
  return static_cast<EntryFlags>((guest & (kEntryWrite | kEntryExecute | kEntryUser)) | (dirty ? kEntryDirty : 0) |
                                 ((host << kEntryHostShift) & kEntryHostAll) | (key << kEntryKeyShift));
}

struct GuestCheck {
  bool allowed;
  bool key_violation;  ///< sets PK in the error code even if another check fails too
};
/// SDM vol. 3, 4.6: the guest's own tables. Order of rights and key is immaterial to the result.
GuestCheck check_guest(const State& state, paging::Rights rights, unsigned key, AccessKind access);

/// What each combination of entry flags permits in one State, so that a TLB hit costs one load.
class PermissionTable {
 public:
  static constexpr std::uint8_t kStoreButClean = 1 << 3;

  void update(const State& state);
  /// Bit AccessKind set: allowed as it is. kStoreButClean: a store is allowed once the dirty flag is set.
  std::uint8_t operator[](EntryFlags flags) const { return allowed_[flags]; }

 private:
  std::array<std::uint8_t, kEntryFlagValues> allowed_{};
};

constexpr std::uint8_t access_bit(AccessKind access) {
  return static_cast<std::uint8_t>(1u << static_cast<unsigned>(access));
}

}  // namespace vmem::hw
