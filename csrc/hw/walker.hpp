// Translation by walking: one dimension, the second stage, and both together. Fills no TLB: the Mmu does.
#pragma once

#include <cstdint>

#include "core/access.hpp"
#include "hw/fault.hpp"
#include "hw/silicon.hpp"
#include "hw/tlb.hpp"
#include "hw/walk.hpp"

namespace vmem::hw {

/// What the second stage is asked for.
enum class HostAccess : std::uint8_t {
  load,
  store,
  fetch,
  table_read,    ///< a guest table, second-stage A/D off
  table_update,  ///< a guest table with second-stage A/D on: counts as a write (SDM vol. 3, 29.3.3.2)
  table_mark,    ///< setting A or D in a guest table, second-stage A/D off
};

/// Whether the end of a walk of x86-64 tables lets the access pass by the guest's rules. If not, `fault` gets
/// everything but who asked.
bool judge_leaf(const State& state, const WalkEnd& end, AccessKind access, Fault& fault);

/// gPA → hPA. On failure `fault` has kind, gpa, level, entry, error code or qualification; who asked (gva, access) is
/// the caller's to fill in.
template <class Effect>
bool translate_second_stage(Silicon& silicon, Gpa gpa, HostAccess access, HostMapping& mapping, Fault& fault);

/// gVA → the entry a TLB would hold. On failure `fault` is complete.
template <class Effect>
bool translate(Silicon& silicon, Gva gva, AccessKind access, TlbEntry& entry, Fault& fault);

/// Bits 63:47 (63:56 with 57 address bits) are equal.
constexpr bool canonical(std::uint64_t va, int address_bits) {
  const int shift = 64 - address_bits;
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(va << shift) >> shift) == va;
}

}  // namespace vmem::hw
