// What a hypervisor that looks for free memory must know of the guest kernel's memory: docs/reference/guest-memory.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/address.hpp"

namespace vmem::vmm::free_list_layout {

inline constexpr Gpa kBootInfo{0x1000};
inline constexpr std::uint64_t kMagic = 0x3154534555474d56;

struct BootInfo {
  std::uint64_t magic, frames, zones, page_array;
};
inline constexpr std::uint64_t kZones = 3, kZoneBytes = 192, kAreasAt = 96, kOrders = 11;

struct FreeArea {
  std::uint32_t head, count;
};

inline constexpr std::uint64_t kPageBytes = 32;
inline constexpr std::uint8_t kFree = 1;

/// The first bytes of a page's entry.
struct PageHead {
  std::uint32_t next, previous;
  std::uint8_t use, order;
};

}  // namespace vmem::vmm::free_list_layout
