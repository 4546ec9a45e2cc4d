// A translation that did not come about, as a value. Most are somebody's normal day.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/access.hpp"
#include "core/address.hpp"

namespace vmem::hw {

enum class FaultKind : std::uint8_t {
  none,
  page_fault,            ///< #PF, vector 14
  general_protection,    ///< #GP(0), vector 13: non-canonical address
  ept_violation,         ///< exit 48
  ept_misconfiguration,  ///< exit 49
  nested_page_fault,     ///< #VMEXIT_NPF
  tlb_refill,            ///< software-managed TLB: no entry
  tlb_modified,          ///< software-managed TLB: store through a clean entry
};

/// As the API and explanations spell it.
constexpr std::string_view name_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::none:
      return "none";
    case FaultKind::page_fault:
      return "page_fault";
    case FaultKind::general_protection:
      return "general_protection";
    case FaultKind::ept_violation:
      return "ept_violation";
    case FaultKind::ept_misconfiguration:
      return "ept_misconfiguration";
    case FaultKind::nested_page_fault:
      return "nested_page_fault";
    case FaultKind::tlb_refill:
      return "tlb_refill";
    case FaultKind::tlb_modified:
      return "tlb_modified";
  }
  return {};
}

// #PF error code (SDM vol. 3, 4.7).
inline constexpr std::uint32_t kPfPresent = 1u << 0;
inline constexpr std::uint32_t kPfWrite = 1u << 1;
inline constexpr std::uint32_t kPfUser = 1u << 2;
inline constexpr std::uint32_t kPfReserved = 1u << 3;
inline constexpr std::uint32_t kPfFetch = 1u << 4;
inline constexpr std::uint32_t kPfKey = 1u << 5;

/// EPT violation, exit qualification: the access was a write (SDM vol. 3, table 28-7).
inline constexpr std::uint64_t kEptViolationWrite = 1u << 1;

struct Fault {
  // What was attempted.
  Gva gva;
  AccessKind access = AccessKind::load;
  bool user = true;
  // Where it ended.
  FaultKind kind = FaultKind::none;
  int level = 0;              ///< of the entry that stopped the walk
  std::uint64_t entry = 0;    ///< that entry
  Gpa gpa;                    ///< second-stage faults: the address that could not be translated
  bool table_access = false;  ///< second-stage faults: gpa is of a guest table, not the final address
  // What the processor reports.
  std::uint64_t error_code = 0;     ///< #PF: 32 bits; #NPF: EXITINFO1
  std::uint64_t qualification = 0;  ///< EPT violation

  int vector() const {
    if (kind == FaultKind::page_fault) return 14;
    return kind == FaultKind::general_protection ? 13 : 0;
  }
  bool second_stage() const {
    return kind == FaultKind::ept_violation || kind == FaultKind::ept_misconfiguration ||
           kind == FaultKind::nested_page_fault;
  }
};

}  // namespace vmem::hw
