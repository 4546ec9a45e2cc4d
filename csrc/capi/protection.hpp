// Rights and page sizes of mappings in the terms of the C interface.
#pragma once

#include <cstdint>
#include <string>

#include "capi/refusal.hpp"
#include "guest/process.hpp"
#include "vmem/host.h"

namespace vmem::capi {

inline guest::Protection protection(std::uint32_t bits) {
  constexpr std::uint32_t kAll = VMEM_READ | VMEM_WRITE | VMEM_EXECUTE;
  if ((bits & ~kAll) != 0)
    throw Refusal(VMEM_E_ARGUMENT, "protection is " + std::to_string(bits) +
                                       "; accepted are bits of VMEM_READ, "
                                       "VMEM_WRITE and VMEM_EXECUTE");
  return {(bits & VMEM_READ) != 0, (bits & VMEM_WRITE) != 0, (bits & VMEM_EXECUTE) != 0};
}

inline PageSize page_size(std::uint32_t page) {
  if (page > VMEM_PAGE_1G)
    throw Refusal(VMEM_E_ARGUMENT, "page is " + std::to_string(page) + "; accepted is VMEM_PAGE_4K, 2M or 1G");
  return static_cast<PageSize>(page);
}

}  // namespace vmem::capi
