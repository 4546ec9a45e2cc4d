#include "guest/balloon_statistics.hpp"

#include <cstring>
#include <utility>

#include "guest/kernel.hpp"

namespace vmem::guest {

BalloonStatistics balloon_statistics(Kernel& kernel) {
  using virtio::balloon::Tag;
  const VmStat& events = kernel.vmstat();
  const MemInfo memory = kernel.meminfo();
  const std::array<std::pair<Tag, std::uint64_t>, kBalloonStatistics> told{{
      {Tag::swap_in, events.pswpin << kPageShift},
      {Tag::swap_out, events.pswpout << kPageShift},
      {Tag::major_faults, events.pgmajfault},
      {Tag::minor_faults, events.pgfault},
      {Tag::oom_kill, events.oom_kill},
      {Tag::alloc_stall, events.allocstall},
      {Tag::async_scan, events.pgscan_kswapd << kPageShift},
      {Tag::direct_scan, events.pgscan_direct << kPageShift},
      {Tag::async_reclaim, events.pgsteal_kswapd << kPageShift},
      {Tag::direct_reclaim, events.pgsteal_direct << kPageShift},
      {Tag::free_memory, memory.MemFree << kPageShift},
      {Tag::total_memory, memory.MemTotal << kPageShift},
      {Tag::available_memory, memory.MemAvailable << kPageShift},
      {Tag::disk_caches, (memory.Buffers + memory.Cached + memory.SwapCached) << kPageShift},
  }};
  BalloonStatistics bytes{};
  std::byte* entry = bytes.data();
  for (const auto& [tag, value] : told) {
    std::memcpy(entry, &tag, sizeof tag);
    std::memcpy(entry + sizeof tag, &value, sizeof value);
    entry += virtio::balloon::kStatBytes;
  }
  return bytes;
}

}  // namespace vmem::guest
