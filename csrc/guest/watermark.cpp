#include "guest/watermark.hpp"

#include <algorithm>
#include <bit>
#include <numeric>

namespace vmem::guest {
namespace {

using PerZone = std::array<std::uint64_t, 3>;

constexpr std::uint64_t kBlock = 512;              // pageblock_nr_pages
constexpr std::uint64_t kPerCpuTypes = 3;          // MIGRATE_PCPTYPES
constexpr std::uint64_t kScaleFactor = 10;         // vm.watermark_scale_factor, of 10,000
constexpr PerZone kReserveRatio = {256, 256, 32};  // vm.lowmem_reserve_ratio

std::uint64_t square_root(std::uint64_t square) {
  std::uint64_t root = 0;
  for (std::uint64_t bit = 1ull << 31; bit != 0; bit >>= 1)
    if ((root | bit) * (root | bit) <= square) root |= bit;
  return root;
}

std::uint64_t total(const PerZone& managed) { return std::accumulate(managed.begin(), managed.end(), 0ull); }

std::array<Watermarks, 3> spread(const PerZone& managed, std::uint64_t min_free) {
  std::array<Watermarks, 3> marks;
  const std::uint64_t all = total(managed);
  for (std::size_t zone = 0; zone < managed.size(); ++zone) {
    if (managed[zone] == 0) continue;
    const std::uint64_t min = min_free * managed[zone] / all;
    const std::uint64_t gap = std::max(min / 4, managed[zone] * kScaleFactor / 10'000);
    marks[zone] = {min, min + gap, min + 2 * gap};
  }
  return marks;
}

}  // namespace

std::array<Watermarks, 3> watermarks(const PerZone& managed) {
  const std::uint64_t kilobytes = total(managed) * 4;
  const std::uint64_t min_free = std::clamp<std::uint64_t>(square_root(16 * kilobytes), 128, 262'144) / 4;
  const auto marks = spread(managed, min_free);
  // khugepaged wants whole page blocks free in each zone, if that is no more than a twentieth of what is free at boot.
  std::uint64_t zones = 0, buffers = 0;
  for (std::size_t zone = 0; zone < managed.size(); ++zone) {
    if (managed[zone] == 0) continue;
    ++zones;
    buffers += managed[zone] - std::min(managed[zone], marks[zone].high);
  }
  const std::uint64_t wanted = kBlock * zones * 2 + kBlock * zones * kPerCpuTypes * kPerCpuTypes;
  const std::uint64_t recommended = std::min(wanted, buffers / 20);
  return recommended > min_free ? spread(managed, recommended) : marks;
}

std::array<PerZone, 3> lowmem_reserve(const PerZone& managed) {
  std::array<PerZone, 3> reserve{};
  for (std::size_t zone = 0; zone < managed.size(); ++zone) {
    std::uint64_t above = 0;
    for (std::size_t from = zone + 1; from < managed.size(); ++from) {
      above += managed[from];
      if (managed[zone] != 0) reserve[zone][from] = above / kReserveRatio[zone];
    }
  }
  return reserve;
}

std::uint64_t total_reserve(const PerZone& managed) {
  const auto marks = watermarks(managed);
  const auto reserve = lowmem_reserve(managed);
  std::uint64_t sum = 0;
  for (std::size_t zone = 0; zone < managed.size(); ++zone)
    sum += std::min(managed[zone], *std::max_element(reserve[zone].begin(), reserve[zone].end()) + marks[zone].high);
  return sum;
}

std::uint64_t available_memory(const Availability& of) {
  const auto usable = [&](std::uint64_t frames) { return frames - std::min(frames / 2, of.low_watermark); };
  const std::uint64_t all = of.free + usable(of.page_cache) + usable(of.reclaimable);
  return all - std::min(all, of.total_reserve);
}

PerCpuLimits per_cpu_limits(std::uint64_t managed, std::uint64_t low_watermark, std::uint64_t vcpus) {
  const std::uint64_t quarter = std::max<std::uint64_t>(std::min<std::uint64_t>(managed >> 10, 256) / 4, 1);
  const std::uint64_t batch = std::max<std::uint64_t>(std::bit_floor(quarter + quarter / 2) - 1, 1);
  return {batch, std::max(low_watermark / vcpus, batch * 4)};
}

}  // namespace vmem::guest
