// The counters of one vCPU, each named once. docs/reference/counters.md gives every one's unit and formula.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace vmem {

// clang-format off
#define VMEM_COUNTERS(X)                                                                                        \
  X(accesses) X(loads) X(stores) X(fetches) X(l1i_hits) X(l1d_hits) X(l2_hits) X(tlb_misses)                    \
  X(walks) X(walk_refs) X(walk_refs_guest) X(walk_refs_host) X(psc_hits) X(nested_tlb_hits) X(dirty_assists)    \
  X(software_tlb_hits) X(tlb_flushes)                                                                           \
  X(balloon_inflated) X(balloon_deflated) X(free_reports) X(free_hints) X(discards) X(discarded_small)          \
  X(discarded_large)

#define VMEM_EXITS(X)                                                                                           \
  X(ept_violation) X(shadow_page_fault) X(page_table_write) X(cr3_write) X(invlpg) X(io) X(hypercall)           \
  X(tlb_refill) X(tlb_write) X(interrupt)

#define VMEM_FAULTS(X)                                                                                          \
  X(guest_page_fault) X(shadow_fill) X(backed_on_demand) X(host_swap_in) X(cow_break) X(dirty_trap) X(spurious)
// clang-format on

/// Why control passed from guest to hypervisor.
enum class ExitReason : std::uint8_t {
#define X(name) name,
  VMEM_EXITS(X)
#undef X
};

/// What a fault turned out to be.
enum class FaultClass : std::uint8_t {
#define X(name) name,
  VMEM_FAULTS(X)
#undef X
};

#define X(name) +1
inline constexpr std::size_t kExitReasons = 0 VMEM_EXITS(X);
inline constexpr std::size_t kFaultClasses = 0 VMEM_FAULTS(X);
#undef X

struct Counters {
#define X(name) std::uint64_t name = 0;
  VMEM_COUNTERS(X)
#undef X
  std::array<std::uint64_t, kExitReasons> exits{};
  std::array<std::uint64_t, kFaultClasses> faults{};

  void count(ExitReason reason) { ++exits[static_cast<std::size_t>(reason)]; }
  void count(FaultClass kind) { ++faults[static_cast<std::size_t>(kind)]; }

  /// Calls `visit(prefix, name, value)` for every counter, in a fixed order; prefix is "", "exits." or "faults.".
  template <class Visit>
  void for_each(Visit&& visit) const {
#define X(name) visit(std::string_view(""), std::string_view(#name), name);
    VMEM_COUNTERS(X)
#undef X
#define X(name) \
  visit(std::string_view("exits."), std::string_view(#name), exits[static_cast<std::size_t>(ExitReason::name)]);
    VMEM_EXITS(X)
#undef X
#define X(name) \
  visit(std::string_view("faults."), std::string_view(#name), faults[static_cast<std::size_t>(FaultClass::name)]);
    VMEM_FAULTS(X)
#undef X
  }

  Counters& operator+=(const Counters& other) {
#define X(name) name += other.name;
    VMEM_COUNTERS(X)
#undef X
    for (std::size_t i = 0; i < kExitReasons; ++i) exits[i] += other.exits[i];
    for (std::size_t i = 0; i < kFaultClasses; ++i) faults[i] += other.faults[i];
    return *this;
  }

  Counters operator-(const Counters& other) const {
    Counters difference = *this;
#define X(name) difference.name -= other.name;
    VMEM_COUNTERS(X)
#undef X
    for (std::size_t i = 0; i < kExitReasons; ++i) difference.exits[i] -= other.exits[i];
    for (std::size_t i = 0; i < kFaultClasses; ++i) difference.faults[i] -= other.faults[i];
    return difference;
  }
};

}  // namespace vmem
