#include "vmm/guest_walk.hpp"

#include "hw/permission.hpp"
#include "hw/walk.hpp"
#include "hw/walker.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

using paging::x86_64;

/// Tables are named by guest-physical addresses and read through the hypervisor's own map.
struct SoftwareDimension {
  const Vm& vm;
  const paging::ReservedBits& bits;
  GuestWalk& walk;

  std::uint64_t read(std::uint64_t at) { return vm.read_guest_entry(Gpa{at}); }
  const paging::ReservedBits& reserved() const { return bits; }
  bool mark_used(std::uint64_t at, std::uint64_t entry, const hw::Cursor& cursor) {
    walk.steps[static_cast<std::size_t>(cursor.level)] = {Gpa{at}, entry};
    return true;
  }
  bool descend(std::uint64_t, std::uint64_t next, hw::Cursor& cursor) {
    cursor.table = cursor.table_gpa = next;
    --cursor.level;
    return true;
  }
};

}  // namespace

GuestWalk walk_guest(const Vm& vm, const hw::State& guest, Gva gva, AccessKind access) {
  GuestWalk walk;
  walk.top = guest.levels();
  const hw::CpuConfig& cpu = vm.config().cpu;
  const auto reserved = paging::reserved_bits_x86_64(cpu.maxphyaddr, guest.nxe(), cpu.one_gib_pages);
  SoftwareDimension dimension{vm, reserved, walk};
  hw::Cursor cursor{guest.cr3_root(), guest.cr3_root(), guest.levels()};
  const hw::WalkEnd end = hw::walk<x86_64>(dimension, gva.value, cursor);
  walk.steps[static_cast<std::size_t>(end.level)] = {Gpa{end.at}, end.entry};
  walk.leaf_level = end.level;
  walk.allowed = hw::judge_leaf(guest, end, access, walk.fault);
  walk.fault.gva = gva;
  walk.fault.access = access;
  walk.fault.user = guest.user();
  if (walk.allowed) {
    const std::uint64_t offset_mask = page_bytes(leaf_page_size(end.level)) - 1;
    walk.gpa = Gpa{x86_64.target(end.entry, end.level) | (gva.value & offset_mask)};
  }
  return walk;
}

bool mark_guest_tables(Vm& vm, GuestWalk& walk, AccessKind access) {
  const bool was_clean = (walk.leaf() & x86_64.dirty) == 0;
  for (int level = walk.top; level >= walk.leaf_level; --level) {
    GuestWalk::Step& step = walk.steps[static_cast<std::size_t>(level)];
    std::uint64_t used = step.entry | x86_64.accessed;
    if (level == walk.leaf_level && access == AccessKind::store) used |= x86_64.dirty;
    if (used == step.entry) continue;
    vm.write_guest_entry(step.at, used);
    step.entry = used;
  }
  return was_clean;
}

}  // namespace vmem::vmm
