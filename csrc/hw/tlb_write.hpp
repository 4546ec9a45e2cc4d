// What a kernel writes to a software-managed TLB.
#pragma once

#include "core/address.hpp"
#include "paging/format.hpp"

namespace vmem::hw {

/// Operand of the privileged TLB write: the translation of the page around `gva` as the kernel found it in its own
/// table. In a virtual machine the write traps, and anything may be in it.
struct TlbWrite {
  Gva gva;
  Gpa page;  ///< aligned to `size`
  PageSize size = PageSize::k4K;
  paging::Rights rights = 0;  ///< accumulated along the walk
  bool dirty = false;         ///< without it a store raises FaultKind::tlb_modified
  bool global = false;
  unsigned key = 0;  ///< protection key
};

}  // namespace vmem::hw
