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
  std::uint64_t zones;       ///< gPA of Zone[kZones]
  std::uint64_t page_array;  ///< gPA of Page[frames]
};

/// A free list: pages of one order, linked through Page::next.
struct FreeArea {
  std::uint32_t head;   ///< gPFN, 0 if empty
  std::uint32_t count;  ///< blocks
};

/// gPA 0x2000: an array of Zone[kZones], by address: DMA below 16 MiB, DMA32 below 4 GiB, Normal. A zone that the guest
/// is too small for has no frames.
struct Zone {
  static constexpr Gpa kAt{0x2000};
  std::uint64_t managed;   ///< frames that belong to the allocator
  std::uint64_t free;      ///< free frames, those above the frontier included, those in per-CPU lists not
  std::uint64_t frontier;  ///< gPFN: from here to `end` frames are free and their Page entries not yet initialised
  std::uint64_t end;       ///< gPFN after the last frame
  std::uint64_t first;     ///< gPFN of the first frame
  std::uint64_t min, low, high;  ///< watermarks, frames
  std::uint64_t reserve[4];      ///< frames kept from allocations that could use zone 0, 1, 2; the last is padding
  FreeArea areas[kOrders];
  std::uint64_t padding;
};
inline constexpr int kZones = 3;

/// gPA 0x2400: FreeTails[kZones], where each zone's free lists end.
struct FreeTails {
  static constexpr Gpa kAt{0x2400};
  std::uint32_t tails[12];  ///< by order: gPFN of the last block, 0 if there is none; the last is padding
};

/// gPA 0x3000: a list of the pages that reclaim looks at, linked through Page. The head is the youngest.
struct LruList {
  static constexpr Gpa kAt{0x3000};
  std::uint32_t head, tail;  ///< gPFN, 0 if empty
  std::uint64_t frames;
};
/// Inactive and active, anonymous and of files, as Linux's lru_list.
inline constexpr int kLruLists = 4;

/// gPA 0x3800: where the map of swap slots is; all zero without swap.
struct SwapArea {
  static constexpr Gpa kAt{0x3800};
  std::uint64_t slots;  ///< slot 0 is never used
  std::uint64_t free;
  std::uint64_t map;       ///< gPA of SwapSlot[slots]
  std::uint64_t clusters;  ///< gPA of a 4-byte count of free slots for each 256
};
/// One page of the swap space. In use if it has entries or a page.
struct SwapSlot {
  std::uint32_t page;     ///< gPFN of the page in memory that belongs to it, 0 if none
  std::uint16_t entries;  ///< page-table entries that name it
  std::uint16_t flags;
  static constexpr std::uint16_t kZeros = 1;  ///< the page was all zeros: nothing is on the disk
  static constexpr std::uint16_t kBad = 2;    ///< the disk would not take it
  std::uint32_t evicted;                      ///< the reclaim clock when the page left memory
  std::uint32_t padding;
};
static_assert(sizeof(SwapArea) == 32 && sizeof(SwapSlot) == 16);

/// gPA 0x4000: PerCpuPages[vCPUs][kZones], single free frames that one vCPU has taken from a zone.
struct PerCpuPages {
  static constexpr Gpa kAt{0x4000};
  std::uint32_t head, tail;  ///< gPFN, 0 if empty; linked through Page
  std::uint32_t count;
  std::uint32_t spills;  ///< how often in a row it was too long
};

enum class PageUse : std::uint8_t {
  none = 0,
  free = 1,
  kernel = 2,
  table = 3,
  anonymous = 4,
  balloon = 5,
  per_cpu = 6,  ///< free, in a per-CPU list
  file = 7,     ///< page cache
};

namespace page_flag {
inline constexpr std::uint16_t kLru = 1 << 0;         ///< on a list of reclaim
inline constexpr std::uint16_t kActive = 1 << 1;      ///< on, or meant for, an active list
inline constexpr std::uint16_t kReferenced = 1 << 2;  ///< found accessed once since it was added
inline constexpr std::uint16_t kDirty = 1 << 3;       ///< its bytes are newer than the disk's
inline constexpr std::uint16_t kWriteback = 1 << 4;   ///< a write of it is under way
inline constexpr std::uint16_t kSwapCache = 1 << 5;   ///< `slot` holds, or will hold, the same bytes
inline constexpr std::uint16_t kReclaim = 1 << 6;     ///< free it when its write has ended
inline constexpr std::uint16_t kWorkingset = 1 << 7;  ///< came back soon after it had been evicted
inline constexpr std::uint16_t kReported = 1 << 8;    ///< free, and the host has been told
inline constexpr std::uint16_t kOffline = 1 << 9;     ///< in the balloon: what is in it is the host's
}  // namespace page_flag

/// One entry of the page array: what the kernel knows of one guest frame. Of a block only the first frame's entry
/// counts.
struct Page {
  std::uint32_t next;  ///< of the list it is in, gPFN
  std::uint32_t previous;
  PageUse use;
  std::uint8_t order;
  std::uint16_t flags;       ///< page_flag
  std::uint32_t references;  ///< page-table entries that map it
  std::uint64_t index;       ///< anonymous: virtual page of the mappings; file: page of the file
  std::uint32_t owner;       ///< anonymous: family of the processes that may map it; file: its number
  std::uint32_t slot;        ///< kSwapCache: its slot
};
static_assert(sizeof(Page) == 32 && sizeof(Zone) == 192 && sizeof(FreeTails) == 48 && sizeof(LruList) == 16 &&
              sizeof(PerCpuPages) == 16);

/// gPA 0x10000; everything below is firmware and kernel data.
inline constexpr Gpa kPageArray{0x10000};
/// A guest smaller than this cannot hold its kernel.
inline constexpr std::uint64_t kMinimumMemory = 1ull << 20;

}  // namespace vmem::guest
