// A process of the guest: its areas, its page table, and where it runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "guest/page_table.hpp"
#include "guest/vma.hpp"

namespace vmem::guest {

struct Process {
  Process(hw::Vcpu& vcpu, PageAllocator& pages, int process_id, std::string process_name, int levels, std::size_t vcpus)
      : id(process_id),
        family(static_cast<std::uint32_t>(process_id)),
        name(std::move(process_name)),
        areas((1ull << (levels == 5 ? 56 : 47)) - kPageSize),
        table(vcpu, pages, levels),
        loaded(vcpus, 0) {}

  /// 1 to 4095; processes more than 4095 ids apart share one and pay a flush.
  std::uint16_t pcid() const { return static_cast<std::uint16_t>(1 + (id - 1) % 4095); }

  int id;
  /// The first of its ancestors. Processes of one family may share anonymous pages, always at one virtual address.
  std::uint32_t family;
  std::string name;
  VmaSet areas;
  PageTable table;
  std::uint64_t program_break = 0;  ///< 0: no heap yet
  std::uint64_t heap_start = 0;
  std::uint64_t resident = 0;  ///< pages of 4 KiB that its table maps
  std::uint64_t swapped = 0;   ///< pages of 4 KiB whose entry names a swap slot
  /// Per vCPU: entries tagged with this PCID there belong to this process and are in step with its table. Otherwise the
  /// next switch flushes them.
  std::vector<std::uint8_t> loaded;
  bool maps_files = false;  ///< or has
  int oom_score_adj = 0;    ///< -1000 to 1000; -1000: never killed for want of memory
  bool killed = false;      ///< by the out-of-memory killer
};

}  // namespace vmem::guest
