// What the guest kernel says of its memory: Linux's /proc/meminfo.
#pragma once

#include <cstdint>

namespace vmem::guest {

/// Linux's names and meanings; frames of 4 KiB.
struct MemInfo {
  std::uint64_t MemTotal = 0;
  std::uint64_t MemFree = 0;
  std::uint64_t MemAvailable = 0;
  std::uint64_t Buffers = 0;
  std::uint64_t Cached = 0;
  std::uint64_t SwapCached = 0;
  std::uint64_t Active = 0;
  std::uint64_t Inactive = 0;
  std::uint64_t ActiveAnon = 0;
  std::uint64_t InactiveAnon = 0;
  std::uint64_t ActiveFile = 0;
  std::uint64_t InactiveFile = 0;
  std::uint64_t SwapTotal = 0;
  std::uint64_t SwapFree = 0;
  std::uint64_t Dirty = 0;
  std::uint64_t Writeback = 0;
  std::uint64_t AnonPages = 0;
  std::uint64_t PageTables = 0;
  std::uint64_t AnonHugePages = 0;
};

/// Calls `use` with the name, as Linux spells it, and the value of each, in this order.
template <class Use>
void each_field(const MemInfo& info, Use&& use) {
  use("MemTotal", info.MemTotal);
  use("MemFree", info.MemFree);
  use("MemAvailable", info.MemAvailable);
  use("Buffers", info.Buffers);
  use("Cached", info.Cached);
  use("SwapCached", info.SwapCached);
  use("Active", info.Active);
  use("Inactive", info.Inactive);
  use("Active(anon)", info.ActiveAnon);
  use("Inactive(anon)", info.InactiveAnon);
  use("Active(file)", info.ActiveFile);
  use("Inactive(file)", info.InactiveFile);
  use("SwapTotal", info.SwapTotal);
  use("SwapFree", info.SwapFree);
  use("Dirty", info.Dirty);
  use("Writeback", info.Writeback);
  use("AnonPages", info.AnonPages);
  use("PageTables", info.PageTables);
  use("AnonHugePages", info.AnonHugePages);
  // Another field needs another line above.
  static_assert(sizeof(MemInfo) == 19 * sizeof(std::uint64_t));
}

}  // namespace vmem::guest
