// A page-table format as data: which bits of an 8-byte entry mean what.
//
// A walk is one loop over levels (hw/walk.hpp); everything that differs between x86-64 tables and EPT stands here.
// The number of levels is not part of the format: 4 and 5 levels differ in nothing else.
#pragma once

#include <cstdint>

#include "core/address.hpp"

namespace vmem::paging {

/// What an entry, or a whole path of entries, permits. A set of bits.
using Rights = std::uint8_t;
inline constexpr Rights kRead = 1;
inline constexpr Rights kWrite = 2;
inline constexpr Rights kExecute = 4;
inline constexpr Rights kUser = 8;
inline constexpr Rights kAllRights = kRead | kWrite | kExecute | kUser;

inline constexpr int kIndexBits = 9;
inline constexpr int kEntries = 1 << kIndexBits;
inline constexpr int kMaxLevels = 5;
inline constexpr int kMaxLeafLevel = 3;

constexpr int level_shift(int level) { return kPageShift + (level - 1) * kIndexBits; }
constexpr unsigned table_index(std::uint64_t address, int level) {
  return static_cast<unsigned>(address >> level_shift(level)) & (kEntries - 1);
}

struct Format {
  std::uint64_t present;  ///< the entry is present if any of these bits is set
  std::uint64_t read;     ///< 0: readable whenever present
  std::uint64_t write;
  std::uint64_t execute;     ///< 0: executable unless no_execute
  std::uint64_t no_execute;  ///< 0: none
  std::uint64_t user;        ///< 0: no privilege in this format
  std::uint64_t accessed;
  std::uint64_t dirty;
  std::uint64_t global;                 ///< 0: none
  std::uint64_t leaf;                   ///< marks a leaf above level 1, up to kMaxLeafLevel
  std::uint64_t address;                ///< bits 51:12
  std::uint64_t low_reserved_in_table;  ///< reserved in an entry that points to a table, besides address bits

  constexpr bool is_present(std::uint64_t entry) const { return (entry & present) != 0; }
  constexpr bool is_leaf(std::uint64_t entry, int level) const {
    return level == 1 || (level <= kMaxLeafLevel && (entry & leaf) != 0);
  }
  [[gnu::always_inline]] constexpr Rights rights(std::uint64_t entry) const {
    const Rights r = read == 0 ? kRead : moved(entry, read, kRead);
    const Rights w = moved(entry, write, kWrite);
    const Rights x = execute != 0 ? moved(entry, execute, kExecute) : moved(~entry, no_execute, kExecute);
    const Rights u = user == 0 ? kUser : moved(entry, user, kUser);
    return static_cast<Rights>(r | w | x | u);
  }
  /// `to` if bit `from` of the entry is set, else 0: a shift and a mask when the format is known.
  static constexpr Rights moved(std::uint64_t entry, std::uint64_t from, Rights to) {
    return static_cast<Rights>((from >= to ? entry / (from / to) : entry * (to / from)) & to);
  }
  /// The entry bits that grant `rights`.
  constexpr std::uint64_t encode(Rights rights) const {
    return (rights & kRead ? read : 0) | (rights & kWrite ? write : 0) | (rights & kUser ? user : 0) |
           (rights & kExecute ? execute : no_execute);
  }
  constexpr std::uint64_t target(std::uint64_t entry, int level) const {
    return entry & address & ~((1ull << level_shift(level)) - 1);
  }
};

inline constexpr std::uint64_t kAddressBits = 0x000f'ffff'ffff'f000ull;

/// Intel SDM vol. 3, 4.5 (tables 4-15 to 4-20). Also the format of NPT (AMD APM vol. 2, 15.25.5).
inline constexpr Format x86_64{.present = 1ull << 0,
                               .read = 0,
                               .write = 1ull << 1,
                               .execute = 0,
                               .no_execute = 1ull << 63,
                               .user = 1ull << 2,
                               .accessed = 1ull << 5,
                               .dirty = 1ull << 6,
                               .global = 1ull << 8,
                               .leaf = 1ull << 7,
                               .address = kAddressBits,
                               .low_reserved_in_table = 0};

/// Intel SDM vol. 3, 29.3.2 (tables 29-1 to 29-7). Accessed and dirty are used when EPTP bit 6 enables them.
inline constexpr Format ept{.present = 0x7,
                            .read = 1ull << 0,
                            .write = 1ull << 1,
                            .execute = 1ull << 2,
                            .no_execute = 0,
                            .user = 0,
                            .accessed = 1ull << 8,
                            .dirty = 1ull << 9,
                            .global = 0,
                            .leaf = 1ull << 7,
                            .address = kAddressBits,
                            .low_reserved_in_table = 0x78};

/// Protection key of an x86-64 leaf, bits 62:59 (SDM vol. 3, 4.6.2).
constexpr unsigned protection_key(std::uint64_t entry) { return static_cast<unsigned>(entry >> 59) & 15; }

/// EPT memory type of a leaf, bits 5:3: write-back.
inline constexpr std::uint64_t kEptWriteBack = 6ull << 3;

}  // namespace vmem::paging
