// The hypervisor's own walk of a guest's page table, in software: where every shadow entry comes from.
#pragma once

#include <array>
#include <cstdint>

#include "core/access.hpp"
#include "core/address.hpp"
#include "hw/fault.hpp"
#include "hw/state.hpp"
#include "paging/format.hpp"

namespace vmem::vmm {

class Vm;

/// What the guest's table says of one access.
struct GuestWalk {
  struct Step {
    Gpa at;                   ///< where the entry stands
    std::uint64_t entry = 0;  ///< as read
  };
  std::array<Step, paging::kMaxLevels + 1> steps{};  ///< by level, from the top to the leaf
  int top = 0;
  int leaf_level = 0;  ///< of the leaf, if `allowed`
  bool allowed = false;
  Gpa gpa;          ///< if `allowed`: where the access goes
  hw::Fault fault;  ///< otherwise: the fault the guest must see

  std::uint64_t leaf() const { return steps[static_cast<std::size_t>(leaf_level)].entry; }
  const Step& at(int level) const { return steps[static_cast<std::size_t>(level)]; }
  Gfn table(int level) const { return at(level).at.frame(); }
};

/// Walks and changes nothing. `guest` has the guest's own CR3. A table outside the guest's memory reads as all ones.
GuestWalk walk_guest(const Vm& vm, const hw::State& guest, Gva gva, AccessKind access);
/// Sets the accessed bits along the walk, and the leaf's dirty bit for a store, in guest memory and in `walk`. Returns
/// whether dirty was clear before.
bool mark_guest_tables(Vm& vm, GuestWalk& walk, AccessKind access);

}  // namespace vmem::vmm
