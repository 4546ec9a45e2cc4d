#include "sim/explain/table_path.hpp"

#include "vmm/shadow/shadow_mmu.hpp"

namespace vmem::sim {
namespace {

using paging::Format;

/// `read(at)` gives the entry that stands there.
template <class Read>
TablePath descend(Table whose, const Format& format, std::uint64_t root, int levels, std::uint64_t address,
                  Read&& read) {
  TablePath path;
  for (int level = levels;; --level) {
    const std::uint64_t at = root + 8ull * paging::table_index(address, level);
    const std::uint64_t entry = read(at);
    path.push_back({whose, level, at, entry});
    if (!format.is_present(entry) || format.is_leaf(entry, level)) return path;
    root = entry & format.address;
  }
}

hw::State guest_state(vmm::Vm& vm, const hw::Vcpu& vcpu) {
  return vm.shadow() != nullptr ? vm.shadow()->guest_state(vcpu) : vcpu.mmu().state();
}

}  // namespace

TablePath guest_path(vmm::Vm& vm, const hw::Vcpu& vcpu, Gva gva) {
  const hw::State state = guest_state(vm, vcpu);
  return descend(Table::guest, paging::x86_64, state.cr3_root(), state.levels(), gva.value,
                 [&](std::uint64_t at) { return vm.read_guest_entry(Gpa{at}); });
}

TablePath second_stage_path(vmm::Vm& vm, Gpa gpa) {
  const vmm::SecondStage* stage = vm.second_stage();
  if (stage == nullptr || !vm.contains(gpa.frame())) return {};
  const Format& format = stage->kind() == hw::SecondStageKind::ept ? paging::ept : paging::x86_64;
  return descend(Table::second_stage, format, stage->root().value, vm.config().cpu.host_levels, gpa.value,
                 [&](std::uint64_t at) { return vm.memory().bytes().load<std::uint64_t>(at); });
}

TablePath shadow_path(vmm::Vm& vm, hw::Vcpu& vcpu, Gva gva) {
  if (vm.shadow() == nullptr) return {};
  const vmm::ShadowPage* root = vm.shadow()->root_of(vcpu);
  if (root == nullptr) return {};
  return descend(Table::shadow, paging::x86_64, root->table.value, root->key.level, gva.value,
                 [&](std::uint64_t at) { return vm.memory().bytes().load<std::uint64_t>(at); });
}

std::optional<Gpa> target_of(const TablePath& guest, Gva gva) {
  const PathEntry& last = guest.back();
  if (!paging::x86_64.is_present(last.entry)) return std::nullopt;
  const std::uint64_t offset = page_bytes(leaf_page_size(last.level)) - 1;
  return Gpa{paging::x86_64.target(last.entry, last.level) | (gva.value & offset)};
}

}  // namespace vmem::sim
