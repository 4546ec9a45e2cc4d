// What events cost, in cycles of the simulated processor. Every cost is a parameter with a unit and a source; none is a
// constant in the code.
#pragma once

#include <cstdint>

#include "core/counters.hpp"

namespace vmem::sim {

// clang-format off
/// name, default in cycles, per what, source ([S] stated by it, [M] commonly measured, an assumption to be replaced by one's own)
#define VMEM_COSTS(X)                                                                                                                       \
  X(access, 1, "access", "[M] a pipelined L1 TLB hit adds nothing; one cycle stands for the access itself")                                  \
  X(l2_tlb_hit, 7, "L2 TLB hit", "[M] Skylake STLB hit penalty")                                                                             \
  X(walk_reference, 12, "page-table entry read", "[M] an L2 cache hit; entries are cached as data")                                          \
  X(dirty_assist, 100, "A/D microcode assist", "[M]")                                                                                        \
  X(tlb_flush, 200, "whole-context invalidation", "[M] MOV CR3 or INVPCID")                                                                  \
  X(guest_page_fault, 1500, "guest page fault", "[M] exception delivery, Linux's handler, zeroing of one page, return")                      \
  X(exit, 2000, "VM exit", "[S] SplitX: direct cost of an exit on an X5570; AMD EPYC round trip 1,344 to 1,376 [S]")                         \
  X(back_page, 4500, "host page given to a guest", "[S] HyperAlloc, EuroSys 2025: 3.93 us at 2.1 GHz to install 4 KiB, less exit, guest fault and walk")                                          \
  X(shadow_fill, 1200, "shadow entry filled", "[M] guest walk in software and rmap update")                                                  \
  X(emulated_store, 3000, "emulated store to a traced guest table", "[M] decode and emulate")                                                \
  X(software_tlb_hit, 100, "refill served by the hypervisor's second-level TLB", "[M] a probe of a hash table and a TLB write")                     \
  X(tlb_write, 300, "trapped TLB write", "[M] lookup of the second stage, check, insertion")                                                 \
  X(cow_break, 2000, "page copied by the host", "[M]")                                                                                       \
  X(host_swap_in, 6000, "page read from host swap", "[M] the path to the disk and back, some 2 us at 3 GHz; the disk's own time is waited for")   \
  X(inflate_page, 4780, "page told to the balloon device", "[S] HyperAlloc: virtio-balloon, 2.28 us at 2.1 GHz of untouched memory, less the exit")  \
  X(deflate_page, 3400, "page taken out of the balloon", "[S] HyperAlloc: virtio-balloon, 1.63 us at 2.1 GHz, less the exit")                       \
  X(report_block, 14000, "free block reported", "[S] HyperAlloc: balloon of 2 MiB pages, 6.8 us at 2.1 GHz of untouched memory, less the exit")      \
  X(free_hint, 200, "free page named by hypercall", "[M] a call and a lookup")                                                                       \
  X(discard, 3000, "range taken from a guest", "[S] HyperAlloc: virtio-balloon, 1.73 us at 2.1 GHz more if the page was touched, less discard_small") \
  X(discard_small, 600, "4 KiB of it", "[M] an entry cleared and a frame freed within a range")                                                      \
  X(discard_large, 12900, "2 MiB of it in one entry", "[S] HyperAlloc: balloon of 2 MiB pages, 7.5 us at 2.1 GHz more if touched, less discard")
// clang-format on

struct CostModel {
#define X(name, cycles, unit, source) std::uint64_t name = cycles;
  VMEM_COSTS(X)
#undef X

  /// Cycles spent on page-table reads by walkers.
  std::uint64_t walk_cycles(const Counters& counters) const { return counters.walk_refs * walk_reference; }
  /// All cycles: a linear function of the counters, so exact for any interval.
  std::uint64_t cycles(const Counters& counters) const;
};

}  // namespace vmem::sim
