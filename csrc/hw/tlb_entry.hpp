// What a TLB holds, and where.
#pragma once

#include <array>
#include <cstdint>

#include "core/address.hpp"
#include "hw/assoc_cache.hpp"
#include "hw/permission.hpp"

namespace vmem::hw {

struct TlbEntry {
  std::uint64_t base = 0;  ///< physical address of the page
  EntryFlags flags = 0;
  PageSize size = PageSize::k4K;
  PageSize guest_size = PageSize::k4K;  ///< of the page in the guest's table that this is all or a part of
  bool global = false;
  std::array<std::uint8_t, 3> unused{};  ///< so that a copy is one of 16 bytes

  bool is_part() const { return guest_size != size; }
  /// As most are: a level has nothing to count about it but that it is there.
  bool is_plain() const { return size == PageSize::k4K && guest_size == PageSize::k4K && !global; }
  std::uint64_t physical(std::uint64_t va) const { return base | (va & (page_bytes(size) - 1)); }
};

static_assert(sizeof(TlbEntry) == 16);

using TlbArray = AssocCache<TlbEntry>;

/// Which way of which set of which array. Stays meaningful as long as the array lives; what stands there may change.
struct TlbPlace {
  TlbArray* array = nullptr;
  TlbArray::Slot slot = 0;

  explicit operator bool() const { return array != nullptr; }
  const TlbEntry& operator*() const { return (*array)[slot]; }
  const TlbEntry* operator->() const { return &(*array)[slot]; }
};

}  // namespace vmem::hw
