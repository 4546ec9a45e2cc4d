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

}  // namespace vmem::guest
