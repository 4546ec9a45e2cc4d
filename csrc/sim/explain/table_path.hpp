// The entries that stand on the way of one access, read from memory without any processor noticing.
#pragma once

#include <cstdint>
#include <vector>

#include "core/address.hpp"
#include "vmm/vm.hpp"

namespace vmem::sim {

/// Whose table an entry stands in.
enum class Table : std::uint8_t { guest, second_stage, shadow };

struct PathEntry {
  Table table = Table::guest;
  int level = 0;
  std::uint64_t at = 0;  ///< where it stands: guest-physical in the guest's table, else machine address
  std::uint64_t entry = 0;

  bool same_place(const PathEntry& other) const {
    return table == other.table && level == other.level && at == other.at;
  }
};

/// Down to the leaf, or to the first entry that is not present; that one is included.
using TablePath = std::vector<PathEntry>;

/// The guest's table for `gva`, from the root that the guest has loaded.
TablePath guest_path(vmm::Vm& vm, const hw::Vcpu& vcpu, Gva gva);
/// Empty for a native machine and outside the guest's memory.
TablePath second_stage_path(vmm::Vm& vm, Gpa gpa);
/// Empty unless the VM is in shadow mode and a root is loaded.
TablePath shadow_path(vmm::Vm& vm, hw::Vcpu& vcpu, Gva gva);
/// Where the guest's table sends `gva`; nothing if it has no leaf for it.
std::optional<Gpa> target_of(const TablePath& guest, Gva gva);

}  // namespace vmem::sim
