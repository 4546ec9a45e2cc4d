// Where the guest kernel keeps its own data in guest-physical memory, byte by byte. docs/reference/guest-memory.md
// describes it for those who read it from outside (a hypervisor that scans free lists).
#pragma once

#include <cstdint>

#include "core/address.hpp"

namespace vmem::guest {

inline constexpr int kMaxOrder = 10;  ///< largest buddy block: 4 MiB
inline constexpr int kOrders = kMaxOrder + 1;

/// gPA 0x1000: how an observer finds the rest.
struct BootInfo {
  static constexpr Gpa kAt{0x1000};
  static constexpr std::uint64_t kMagic = 0x3154'5345'5547'4d56;  ///< "VMGUEST1" as bytes, little-endian
  std::uint64_t magic;
  std::uint64_t frames;      ///< of the whole guest
  std::uint64_t zone;        ///< gPA of the Zone
  std::uint64_t page_array;  ///< gPA of Page[frames]
};

/// A free list: pages of one order, linked through Page::next.
struct FreeArea {
  std::uint32_t head;   ///< gPFN, 0 if empty
  std::uint32_t count;  ///< blocks
};

/// gPA 0x2000.
struct Zone {
  static constexpr Gpa kAt{0x2000};
  std::uint64_t managed;   ///< frames that ever belonged to the allocator
  std::uint64_t free;      ///< free frames, those above the frontier included
  std::uint64_t frontier;  ///< gPFN: from here on frames are free and their Page entries not yet initialised
  std::uint64_t end;       ///< gPFN after the last frame
  FreeArea areas[kOrders];
};

enum class PageUse : std::uint8_t { none = 0, free = 1, kernel = 2, table = 3, anonymous = 4, balloon = 5 };

/// One entry of the page array: what the kernel knows of one guest frame. Of a block only the first frame's entry
/// counts.
struct Page {
  std::uint32_t next;  ///< free list, gPFN
  std::uint32_t previous;
  PageUse use;
  std::uint8_t order;
  std::uint16_t flags;
  std::uint32_t references;  ///< page-table entries that map it
  std::uint64_t owner;       ///< anonymous: process id in 63:52 … 40, virtual page in 39:0 of the first mapper
  std::uint64_t reserved;
};
static_assert(sizeof(Page) == 32);

/// gPA 0x10000; everything below is firmware and kernel data.
inline constexpr Gpa kPageArray{0x10000};
/// A guest smaller than this cannot hold its kernel.
inline constexpr std::uint64_t kMinimumMemory = 1ull << 20;

}  // namespace vmem::guest
