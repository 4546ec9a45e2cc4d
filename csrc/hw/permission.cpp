#include "hw/permission.hpp"

namespace vmem::hw {
namespace {

bool rights_allow(const State& state, paging::Rights rights, AccessKind access) {
  const bool user_page = (rights & paging::kUser) != 0;
  if (state.user() && !user_page) return false;
  if (access == AccessKind::fetch) {
    const bool executable = (rights & paging::kExecute) != 0 || !state.nxe();
    return executable && (state.user() || !user_page || !state.has(kCr4Smep));
  }
  if (!state.user() && user_page && state.has(kCr4Smap) && !state.ac) return false;
  if (access == AccessKind::load) return true;
  return (rights & paging::kWrite) != 0 || (!state.user() && !state.wp());
}

bool key_allows(const State& state, paging::Rights rights, unsigned key, AccessKind access) {
  if (!state.has(kCr4Pke) || (rights & paging::kUser) == 0 || access == AccessKind::fetch) return true;
  const bool access_disabled = ((state.pkru >> (2 * key)) & 1) != 0;
  const bool write_disabled = ((state.pkru >> (2 * key + 1)) & 1) != 0;
  if (access_disabled) return false;
  return !(access == AccessKind::store && write_disabled && (state.user() || state.wp()));
}

}  // namespace

GuestCheck check_guest(const State& state, paging::Rights rights, unsigned key, AccessKind access) {
  const bool key_ok = key_allows(state, rights, key, access);
  return {key_ok && rights_allow(state, rights, access), !key_ok};
}

void PermissionTable::update(const State& state) {
  for (std::size_t flags = 0; flags < kEntryFlagValues; ++flags) {
    const auto rights = static_cast<paging::Rights>(paging::kRead | (flags & kEntryWrite ? paging::kWrite : 0) |
                                                    (flags & kEntryUser ? paging::kUser : 0) |
                                                    (flags & kEntryExecute ? paging::kExecute : 0));
    const auto key = static_cast<unsigned>(flags >> kEntryKeyShift);
    const auto allows = [&](AccessKind access, EntryFlags host) {
      return (flags & host) != 0 && check_guest(state, rights, key, access).allowed;
    };
    std::uint8_t allowed = 0;
    if (allows(AccessKind::load, kEntryHostRead)) allowed |= access_bit(AccessKind::load);
    if (allows(AccessKind::fetch, kEntryHostExecute)) allowed |= access_bit(AccessKind::fetch);
    if (allows(AccessKind::store, kEntryHostWrite))
      allowed |= flags & kEntryDirty ? access_bit(AccessKind::store) : kStoreButClean;
    allowed_[flags] = allowed;
  }
}

}  // namespace vmem::hw
