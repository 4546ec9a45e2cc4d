#include "capi/result.hpp"

namespace vmem::capi {
namespace {

std::uint32_t number_of(hw::FaultKind kind) {
  switch (kind) {
    case hw::FaultKind::page_fault:
      return VMEM_PAGE_FAULT;
    case hw::FaultKind::general_protection:
      return VMEM_GENERAL_PROTECTION;
    case hw::FaultKind::ept_violation:
      return VMEM_EPT_VIOLATION;
    case hw::FaultKind::ept_misconfiguration:
      return VMEM_EPT_MISCONFIGURATION;
    case hw::FaultKind::nested_page_fault:
      return VMEM_NESTED_PAGE_FAULT;
    case hw::FaultKind::none:
    case hw::FaultKind::tlb_refill:  // an MMU of this interface walks by itself
    case hw::FaultKind::tlb_modified:
      break;
  }
  throw InvariantError("an MMU that walks by itself raised " + std::string(hw::name_of(kind)));
}

}  // namespace

void tell(const hw::Fault& fault, vmem_result& result) {
  result.fault = number_of(fault.kind);
  result.pa = ~std::uint64_t{0};
  result.page_size = 0;
  result.address = fault.gva.value;
  result.error_code = fault.error_code;
  result.qualification = fault.qualification;
  result.gpa = fault.gpa.value;
  result.entry = fault.entry;
  result.level = static_cast<std::uint32_t>(fault.level);
  result.kind = static_cast<std::uint32_t>(fault.access);
}

}  // namespace vmem::capi
