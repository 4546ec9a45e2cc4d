#include "hw/permission.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace vmem::hw {
namespace {

constexpr AccessKind kKinds[] = {AccessKind::load, AccessKind::store, AccessKind::fetch};

/// Every combination of the registers that rights depend on, with a few of PKRU.
std::vector<State> all_states() {
  std::vector<State> states;
  for (const std::uint32_t pkru : {0u, 0x5555'5555u, 0xaaaa'aaaau, 0x0123'4567u}) {
    for (unsigned bits = 0; bits < 128; ++bits) {
      State state;
      state.cpl = bits & 1 ? 3 : static_cast<std::uint8_t>(bits % 3);
      if (bits & 2) state.cr0 &= ~kCr0Wp;
      if (bits & 4) state.efer &= ~kEferNxe;
      state.cr4 |= (bits & 8 ? kCr4Smep : 0) | (bits & 16 ? kCr4Smap : 0) | (bits & 32 ? kCr4Pke : 0);
      state.ac = (bits & 64) != 0;
      state.pkru = pkru;
      states.push_back(state);
    }
  }
  return states;
}

/// SDM vol. 3, 4.6.1 and 4.6.2, as a list of reasons to refuse.
GuestCheck by_the_manual(const State& state, bool writable, bool user_page, bool executable, unsigned key,
                         AccessKind access) {
  const bool user_mode = state.cpl == 3, store = access == AccessKind::store, fetch = access == AccessKind::fetch;
  const bool write_protect = (state.cr0 >> 16 & 1) != 0 || user_mode;
  const bool nxe = (state.efer >> 11 & 1) != 0, smep = (state.cr4 >> 20 & 1) != 0, smap = (state.cr4 >> 21 & 1) != 0;
  const bool keys = (state.cr4 >> 22 & 1) != 0;
  const unsigned key_bits = state.pkru >> (2 * key) & 3;
  const bool key_refuses =
      keys && user_page && !fetch && ((key_bits & 1) != 0 || (store && (key_bits & 2) != 0 && write_protect));
  bool refused = key_refuses;
  refused |= user_mode && !user_page;
  refused |= store && !writable && write_protect;
  refused |= fetch && !executable && nxe;
  refused |= fetch && !user_mode && user_page && smep;
  refused |= !fetch && !user_mode && user_page && smap && !state.ac;
  return {!refused, key_refuses};
}

TEST_CASE("the guest's rights and keys are checked as the manual says") {
  for (const State& state : all_states()) {
    int wrong = 0;
    for (unsigned bits = 0; bits < 8; ++bits) {
      const bool writable = (bits & 1) != 0, user_page = (bits & 2) != 0, executable = (bits & 4) != 0;
      const auto rights =
          static_cast<paging::Rights>(paging::kRead | (writable ? paging::kWrite : 0) |
                                      (user_page ? paging::kUser : 0) | (executable ? paging::kExecute : 0));
      for (unsigned key = 0; key < 16; ++key) {
        for (const AccessKind access : kKinds) {
          const GuestCheck given = check_guest(state, rights, key, access);
          const GuestCheck expected = by_the_manual(state, writable, user_page, executable, key, access);
          wrong += given.allowed != expected.allowed || given.key_violation != expected.key_violation;
        }
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("flags of an entry hold each fact in its own bit") {
  for (unsigned guest = 0; guest < 16; ++guest) {
    for (unsigned host = 0; host < 16; ++host) {
      for (const unsigned key : {0u, 1u, 10u, 15u}) {
        const EntryFlags clean =
            entry_flags(static_cast<paging::Rights>(guest), false, static_cast<paging::Rights>(host), key);
        const EntryFlags dirty =
            entry_flags(static_cast<paging::Rights>(guest), true, static_cast<paging::Rights>(host), key);
        CHECK(dirty == (clean | kEntryDirty));
        CHECK(dirty < kEntryFlagValues);
        CHECK(((clean & kEntryWrite) != 0) == ((guest & paging::kWrite) != 0));
        CHECK(((clean & kEntryUser) != 0) == ((guest & paging::kUser) != 0));
        CHECK(((clean & kEntryExecute) != 0) == ((guest & paging::kExecute) != 0));
        CHECK(((clean & kEntryHostRead) != 0) == ((host & paging::kRead) != 0));
        CHECK(((clean & kEntryHostWrite) != 0) == ((host & paging::kWrite) != 0));
        CHECK(((clean & kEntryHostExecute) != 0) == ((host & paging::kExecute) != 0));
        CHECK((clean >> kEntryKeyShift) == static_cast<int>(key));
      }
    }
  }
}

TEST_CASE("a hit's table says what the guest's check and the second stage's rights say, for all flags and states") {
  PermissionTable table;
  for (const State& state : all_states()) {
    table.update(state);
    int wrong = 0;
    for (unsigned flags = 0; flags < kEntryFlagValues; ++flags) {
      const auto allows = [&](AccessKind access, EntryFlags host) {
        return (flags & host) != 0 && by_the_manual(state, (flags & kEntryWrite) != 0, (flags & kEntryUser) != 0,
                                                    (flags & kEntryExecute) != 0, flags >> kEntryKeyShift, access)
                                          .allowed;
      };
      const bool store = allows(AccessKind::store, kEntryHostWrite), dirty = (flags & kEntryDirty) != 0;
      const bool expected[] = {allows(AccessKind::load, kEntryHostRead), store && dirty,
                               allows(AccessKind::fetch, kEntryHostExecute), store && !dirty};
      for (unsigned bit = 0; bit < 8; ++bit)
        wrong += (table[static_cast<EntryFlags>(flags)] >> bit & 1) != (bit < 4 && expected[bit] ? 1 : 0);
    }
    CHECK(wrong == 0);
  }
}

/// What replay of runs relies on: a run's first access speaks for the rest (sim/machine.cpp).
TEST_CASE("what may be stored to may be loaded from, if the second stage lets it be read") {
  PermissionTable table;
  for (const State& state : all_states()) {
    table.update(state);
    int wrong = 0;
    for (unsigned flags = 0; flags < kEntryFlagValues; ++flags) {
      const std::uint8_t allowed = table[static_cast<EntryFlags>(flags)];
      if ((flags & kEntryHostRead) != 0 && (allowed & access_bit(AccessKind::store)) != 0)
        wrong += (allowed & access_bit(AccessKind::load)) == 0;
    }
    CHECK(wrong == 0);
  }
}

}  // namespace
}  // namespace vmem::hw
