// A translation that did not come about, as a value. Most are somebody's normal day.
#pragma once

#include <cstdint>

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
