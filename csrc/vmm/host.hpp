// What the virtual machines of one host share.
#pragma once

#include <cstdint>
#include <string>

#include "core/clock.hpp"
#include "core/event_log.hpp"
#include "memory/machine_memory.hpp"
#include "memory/swap_file.hpp"
#include "vmm/admission.hpp"
#include "vmm/reclaim/reclaim_config.hpp"
#include "vmm/shadow/reverse_map.hpp"
#include "vmm/sharers.hpp"

namespace vmem::vmm {

/// The host's swap.
struct SwapConfig {
  std::uint64_t bytes = 0;          ///< 0: none
  std::string directory;            ///< where its file lies; empty: the system's for temporary files
  Nanoseconds read_time = 100'000;  ///< a vCPU waits so long for one page: an NVMe disk's 4 KiB random read
};

/// Pages since the host was switched on.
struct HostStat {
  std::uint64_t swapped_out = 0;
  std::uint64_t swapped_in = 0;
  std::uint64_t double_paging = 0;  ///< of them, read back only because the guest sent them to a disk of its own
  std::uint64_t merged = 0;         ///< given up for a frame with the same bytes
  std::uint64_t cow_broken = 0;
  std::uint64_t split = 0;      ///< large pages cut
  std::uint64_t collapsed = 0;  ///< 2 MiB pages made of small ones
};

/// Calls `use` with the name and value of each, in this order.
template <class Use>
void each_counter(const HostStat& stat, Use&& use) {
  use("swapped_out", stat.swapped_out);
  use("swapped_in", stat.swapped_in);
  use("double_paging", stat.double_paging);
  use("merged", stat.merged);
  use("cow_broken", stat.cow_broken);
  use("split", stat.split);
  use("collapsed", stat.collapsed);
  // Another counter needs another line above.
  static_assert(sizeof(HostStat) == 7 * sizeof(std::uint64_t));
}

/// What a host is switched on with, beside its memory.
struct HostConfig {
  SwapConfig swap;
  ReclaimConfig reclaim;
  AdmissionConfig admission;
};

class Reclaim;

struct Host {
  Host(std::uint64_t memory_bytes, const SwapConfig& config)
      : memory(memory_bytes),
        swap(config.bytes, config.directory),
        swap_read_time(config.read_time),
        reverse(memory),
        sharers(memory),
        events(clock) {}

  memory::MachineMemory memory;
  memory::SwapFile swap;
  Nanoseconds swap_read_time;
  ReverseMap reverse;
  Sharers sharers;
  HostStat stat;
  Clock clock;
  EventLog events;
  Reclaim* reclaim = nullptr;  ///< asked for room at every exit that may need frames
};

}  // namespace vmem::vmm
