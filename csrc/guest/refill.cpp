#include "guest/refill.hpp"

#include "hw/vcpu.hpp"
#include "hw/walk.hpp"
#include "hw/walker.hpp"
#include "paging/reserved.hpp"

namespace vmem::guest {
namespace {

using paging::x86_64;

/// Tables are named and read by guest-physical addresses.
struct KernelDimension {
  hw::Vcpu& vcpu;
  const paging::ReservedBits& bits;
  std::uint64_t references = 0;

  std::uint64_t read(std::uint64_t at) {
    ++references;
    return vcpu.load<std::uint64_t>(Gpa{at});
  }
  const paging::ReservedBits& reserved() const { return bits; }
  bool mark_used(std::uint64_t at, std::uint64_t entry, const hw::Cursor&) {
    if ((entry & x86_64.accessed) == 0) vcpu.store<std::uint64_t>(Gpa{at}, entry | x86_64.accessed);
    return true;
  }
  bool descend(std::uint64_t, std::uint64_t next, hw::Cursor& cursor) {
    cursor.table = cursor.table_gpa = next;
    --cursor.level;
    return true;
  }
};

}  // namespace

bool refill_tlb(hw::Vcpu& vcpu, const hw::Fault& miss, hw::Fault& page_fault) {
  const hw::State& state = vcpu.mmu().state();
  const hw::CpuConfig& cpu = vcpu.mmu().cpu();
  const auto reserved = paging::reserved_bits_x86_64(cpu.maxphyaddr, state.nxe(), cpu.one_gib_pages);
  KernelDimension dimension{vcpu, reserved};
  hw::Cursor cursor{state.cr3_root(), state.cr3_root(), state.levels()};
  const hw::WalkEnd end = hw::walk<x86_64>(dimension, miss.gva.value, cursor);
  vcpu.count_walk(dimension.references);
  if (!hw::judge_leaf(state, end, miss.access, page_fault)) {
    page_fault.gva = miss.gva;
    page_fault.access = miss.access;
    page_fault.user = miss.user;
    return false;
  }
  const std::uint64_t used =
      end.entry | x86_64.accessed | (miss.access == AccessKind::store ? x86_64.dirty : std::uint64_t{0});
  if (used != end.entry) vcpu.store<std::uint64_t>(Gpa{end.at}, used);
  vcpu.tlb_write({.gva = miss.gva,
                  .page = Gpa{x86_64.target(used, end.level)},
                  .size = leaf_page_size(end.level),
                  .rights = end.rights,
                  .dirty = (used & x86_64.dirty) != 0,
                  .global = (used & x86_64.global) != 0,
                  .key = paging::protection_key(used)});
  return true;
}

}  // namespace vmem::guest
