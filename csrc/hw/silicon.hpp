// Everything of a processor that a walk may read, write or count.
#pragma once

#include <cstdint>

#include "core/counters.hpp"
#include "hw/context.hpp"
#include "hw/cpu_config.hpp"
#include "hw/lookahead.hpp"
#include "hw/nested_tlb.hpp"
#include "hw/permission.hpp"
#include "hw/physical_view.hpp"
#include "hw/psc.hpp"
#include "hw/state.hpp"
#include "hw/story.hpp"
#include "hw/walk.hpp"
#include "paging/reserved.hpp"

namespace vmem::hw {

/// Whose tables a one-dimensional walk reads; decides only which counter its references go to.
enum class LinearTables : std::uint8_t { guest, hypervisor };

/// The second-stage table that the guest kernel's last access to guest-physical memory ended in. Dropped with the
/// paging-structure caches.
struct KernelTable {
  std::uint64_t region = ~0ull;  ///< gPA >> 21
  Cursor cursor;                 ///< at level 1
};

/// The walker's surroundings. `state` and what follows from it change together, in Mmu::set_state.
struct Silicon {
  Silicon(const PhysicalView& view, const CpuConfig& cpu)
      : memory(view), psc(cpu.psc), host_psc(cpu.host_psc), nested_tlb(cpu.nested_tlb) {}

  PhysicalView memory;
  State state;
  PermissionTable permissions;
  paging::ReservedBits guest_reserved;
  paging::ReservedBits host_reserved;
  int host_levels = 4;
  bool host_marks = false;  ///< State::stage2_accessed_dirty
  int address_bits = 48;    ///< State::address_bits
  ContextKeys keys;
  LinearTables linear_tables = LinearTables::guest;
  PagingStructureCaches psc;
  PagingStructureCaches host_psc;
  NestedTlb nested_tlb;
  KernelTable kernel_table;
  TableHints leaf_tables;       ///< of what CR3 names
  TableHints host_leaf_tables;  ///< of the second stage
  Counters counters;
  Story* story = nullptr;  ///< not null while a walk may be Told
};

// What a walk leaves behind. Chosen at compile time: the walk itself is the same.

/// A processor's walk: caches, counters, accessed and dirty bits.
struct Live {
  static constexpr bool kCaches = true, kCounts = true, kMarks = true, kKernel = false, kTells = false;
};
/// The same, told step by step.
struct Told : Live {
  static constexpr bool kTells = true;
};
/// As if through pinned global pages: accessed and dirty bits only, from the table used last.
struct Quiet {
  static constexpr bool kCaches = false, kCounts = false, kMarks = true, kKernel = true, kTells = false;
};
/// Looks only.
struct Pure {
  static constexpr bool kCaches = false, kCounts = false, kMarks = false, kKernel = false, kTells = false;
};

}  // namespace vmem::hw
