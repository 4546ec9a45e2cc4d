// How much memory the kernel keeps for itself: Linux's formulas (6.1: mm/page_alloc.c, mm/khugepaged.c), in frames.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace vmem::guest {

struct Watermarks {
  std::uint64_t min = 0;   ///< below it only reclaim itself gets memory
  std::uint64_t low = 0;   ///< below it kswapd is woken
  std::uint64_t high = 0;  ///< up to it kswapd reclaims
};

/// What setup_per_zone_wmarks and set_recommended_min_free_kbytes give each zone of so many managed frames. Zones
/// without frames have none.
std::array<Watermarks, 3> watermarks(const std::array<std::uint64_t, 3>& managed);

/// setup_per_zone_lowmem_reserve: frames of zone [i] that an allocation which could have come from zone [j] leaves
/// alone.
std::array<std::array<std::uint64_t, 3>, 3> lowmem_reserve(const std::array<std::uint64_t, 3>& managed);

/// calculate_totalreserve_pages: what of all free memory no user gets.
std::uint64_t total_reserve(const std::array<std::uint64_t, 3>& managed);

struct Availability {
  std::uint64_t free = 0;           ///< NR_FREE_PAGES
  std::uint64_t page_cache = 0;     ///< frames on the file lists
  std::uint64_t reclaimable = 0;    ///< slab and kernel memory that can be reclaimed
  std::uint64_t low_watermark = 0;  ///< of all zones
  std::uint64_t total_reserve = 0;
};
/// si_mem_available: MemAvailable.
std::uint64_t available_memory(const Availability& of);

/// zone_batchsize and zone_highsize: how many single frames go between a zone and one vCPU's list at once, and how many
/// the list holds.
struct PerCpuLimits {
  std::uint64_t batch = 1;
  std::uint64_t high = 4;
};
PerCpuLimits per_cpu_limits(std::uint64_t managed, std::uint64_t low_watermark, std::uint64_t vcpus);

}  // namespace vmem::guest
