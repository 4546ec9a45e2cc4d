// Accesses and their ends in the terms of the C interface.
#pragma once

#include "capi/refusal.hpp"
#include "core/access.hpp"
#include "hw/fault.hpp"
#include "hw/tlb_entry.hpp"
#include "vmem/mmu.h"

namespace vmem::capi {

inline AccessKind access_kind(std::uint32_t kind) {
  if (kind >= kAccessKinds) [[unlikely]]
    throw Refusal(VMEM_E_ARGUMENT,
                  "kind " + std::to_string(kind) + "; accepted are VMEM_LOAD (0), VMEM_STORE (1) and VMEM_FETCH (2)");
  return static_cast<AccessKind>(kind);
}

inline void tell(const hw::TlbEntry& entry, std::uint64_t va, vmem_result& result) {
  result.fault = VMEM_NO_FAULT;
  result.pa = entry.physical(va);
  result.page_size = page_bytes(entry.size);
}

/// Everything but `size`.
void tell(const hw::Fault& fault, vmem_result& result);

}  // namespace vmem::capi
