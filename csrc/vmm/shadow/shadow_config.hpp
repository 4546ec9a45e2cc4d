// How a shadow page table is kept in step with the guest's.
#pragma once

#include <cstdint>

namespace vmem::vmm {

/// How the hypervisor learns that the guest changed its tables.
enum class ShadowSync : std::uint8_t {
  trace,   ///< guest tables are write-protected: every store to one exits and is emulated
  unsync,  ///< the first store to a level-1 table lifts its protection; it is resynchronised at CR3 load, INVLPG and
           ///< flush
  vtlb,    ///< never: the shadow is a virtual TLB, dropped at CR3 load and INVLPG
};

struct ShadowConfig {
  ShadowSync sync = ShadowSync::trace;
  std::uint64_t max_pages =
      0;  ///< shadow pages at most; 0: one for every fifty guest frames, at least 64, as KVM's default
  bool direct_faults = false;  ///< not-present faults that are the guest's reach it without an exit; not with vtlb
};

}  // namespace vmem::vmm
