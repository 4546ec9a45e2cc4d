// The memory balloon's protocol (virtio 1.2, 5.5).
#pragma once

#include <array>
#include <cstdint>

namespace vmem::virtio::balloon {

inline constexpr std::uint64_t kMustTellHost = 1ull << 0, kStatsQueue = 1ull << 1, kDeflateOnOom = 1ull << 2,
                               kFreePageHint = 1ull << 3, kPagePoison = 1ull << 4, kPageReporting = 1ull << 5;

/// Configuration space, le32 each.
inline constexpr std::uint32_t kNumPages = 0;     ///< pages the host wants in the balloon
inline constexpr std::uint32_t kActual = 4;       ///< pages that are in it; the driver writes
inline constexpr std::uint32_t kHintCommand = 8;  ///< free page hinting
inline constexpr std::uint32_t kPoison = 12;      ///< what fills free pages; the driver writes

/// Values of the free page hinting command: these two, or the id of a round. QEMU's ids begin at kFirstHintRound.
inline constexpr std::uint32_t kHintStop = 0, kHintDone = 1, kFirstHintRound = 0x8000'0000;

/// A page is 4 KiB whatever the guest's pages are.
using Pfn = std::uint32_t;
/// The most that Linux puts into one request (VIRTIO_BALLOON_ARRAY_PFNS_MAX).
inline constexpr std::uint32_t kPfnsPerRequest = 256;

/// One entry of a statistics buffer: 10 bytes, le16 tag and le64 value, packed.
inline constexpr std::uint64_t kStatBytes = 10;

/// Tags 0 to 9 are the standard's, the others Linux's since 6.12. Names are QEMU's.
inline constexpr std::array<const char*, 16> kStatNames{
    "stat-swap-in",      "stat-swap-out",     "stat-major-faults",     "stat-minor-faults",
    "stat-free-memory",  "stat-total-memory", "stat-available-memory", "stat-disk-caches",
    "stat-htlb-pgalloc", "stat-htlb-pgfail",  "stat-oom-kills",        "stat-alloc-stalls",
    "stat-async-scans",  "stat-direct-scans", "stat-async-reclaims",   "stat-direct-reclaims"};
enum class Tag : std::uint16_t {
  swap_in,
  swap_out,
  major_faults,
  minor_faults,
  free_memory,
  total_memory,
  available_memory,
  disk_caches,
  htlb_pgalloc,
  htlb_pgfail,
  oom_kill,
  alloc_stall,
  async_scan,
  direct_scan,
  async_reclaim,
  direct_reclaim
};

}  // namespace vmem::virtio::balloon
