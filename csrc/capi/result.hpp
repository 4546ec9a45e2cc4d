// Accesses and their ends in the terms of the C interface.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

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

[[noreturn]] inline void refuse_run(std::uint64_t number) {
  throw Refusal(VMEM_E_ARGUMENT,
                "run " + std::to_string(number) +
                    ": its kind and its counts do not go together; docs/formats/vmt.md says what does");
}

/// How many kinds at the head of an array are valid.
inline std::size_t count_valid(const std::uint8_t* kinds, std::size_t count) {
  std::uint8_t most = 0;
  for (std::size_t i = 0; i < count; ++i) most = std::max(most, kinds[i]);  // no early end: vectorises
  if (most < kAccessKinds) [[likely]]
    return count;
  return static_cast<std::size_t>(
      std::find_if(kinds, kinds + count, [](std::uint8_t kind) { return kind >= kAccessKinds; }) - kinds);
}

inline void tell(const hw::TlbEntry& entry, std::uint64_t va, vmem_result& result) {
  result.fault = VMEM_NO_FAULT;
  result.pa = entry.physical(va);
  result.page_size = page_bytes(entry.size);
}

/// Everything but `size`.
void tell(const hw::Fault& fault, vmem_result& result);

}  // namespace vmem::capi
