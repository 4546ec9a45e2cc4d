#include "vmm/software_tlb/software_tlb.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "hw/vcpu.hpp"
#include "vmm/provide.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

using hw::Outcome;

SoftwareTlb::SoftwareTlb(Vm& vm, std::uint32_t entries) : vm_(vm), processors_(vm.vcpu_count()) {
  if (entries % SecondLevelTlb::kWays != 0 || entries > 1u << 24)
    throw ConfigError("VM '" + vm.config().name + "': a second-level software TLB of " + std::to_string(entries) +
                      " entries: accepted are 0 and multiples of " + std::to_string(SecondLevelTlb::kWays) +
                      " up to 16,777,216");
  if (entries == 0) return;
  for (Processor& processor : processors_) processor.second_level.emplace_back(entries);
}

SoftwareTlb::Processor& SoftwareTlb::of(const hw::Vcpu& vcpu) {
  return processors_[static_cast<std::size_t>(vcpu.id())];
}

Outcome SoftwareTlb::on_refill(hw::Vcpu& vcpu, hw::Fault& fault) {
  vcpu.count(ExitReason::tlb_refill);
  Processor& processor = of(vcpu);
  if (processor.without_entry != Outcome::retry && processor.page.frame() == fault.gva.frame()) {
    fault.gpa = processor.gpa + fault.gva.offset();
    return std::exchange(processor.without_entry, Outcome::retry);
  }
  processor.without_entry = Outcome::retry;
  processor.access = fault.access;
  for (SecondLevelTlb& second_level : processor.second_level) {
    const hw::TlbEntry* held = second_level.find(vcpu.mmu().state(), fault.gva, fault.access);
    if (held == nullptr) continue;
    ++vcpu.mmu().event_counters().software_tlb_hits;
    vcpu.mmu().write_tlb(fault.gva, *held);
    return Outcome::retry;
  }
  return Outcome::inject;
}

void SoftwareTlb::on_tlb_write(hw::Vcpu& vcpu, const hw::TlbWrite& write) {
  const Gpa gpa{align_down(write.page.value, page_bytes(write.size)) |
                (align_down(write.gva.value, kPageSize) & (page_bytes(write.size) - 1))};
  Processor& processor = of(vcpu);
  processor.page = write.gva;
  processor.gpa = gpa;
  processor.without_entry = insert(vcpu, write, gpa);
}

/// Outcome::retry: the TLB has it.
Outcome SoftwareTlb::insert(hw::Vcpu& vcpu, const hw::TlbWrite& write, Gpa gpa) {
  const Gfn gfn = gpa.frame();
  if (!vm_.contains(gfn)) return Outcome::emulate;
  const bool store = of(vcpu).access == AccessKind::store;
  if (provide(vm_, vcpu, gfn, store) == Provided::no_memory) return Outcome::kill;
  const SecondStage& stage = *vm_.second_stage();
  const SecondStage::Leaf backing = stage.find(gfn);
  hw::TlbEntry entry;
  entry.guest_size = write.size;
  entry.size = std::min(write.size, backing.size());
  entry.base = align_down(stage.target(backing, gfn).address().value, page_bytes(entry.size));
  entry.flags = hw::entry_flags(write.rights, write.dirty, stage.rights(backing.entry), write.key & 15);
  entry.global = write.global && vcpu.mmu().state().has(hw::kCr4Pge);
  vcpu.mmu().write_tlb(write.gva, entry);
  for (SecondLevelTlb& second_level : of(vcpu).second_level) second_level.fill(vcpu.mmu().state(), write.gva, entry);
  return Outcome::retry;
}

void SoftwareTlb::on_cr3_write(hw::Vcpu& vcpu, std::uint64_t value) {
  const bool keeps = (value & hw::kCr3NoFlush) != 0 && vcpu.mmu().state().has(hw::kCr4Pcide);
  vcpu.mmu().mov_cr3(value);
  if (keeps) return;
  for (SecondLevelTlb& second_level : of(vcpu).second_level) second_level.flush_pcid(vcpu.mmu().state().pcid());
}

void SoftwareTlb::on_invlpg(hw::Vcpu& vcpu, Gva gva) {
  vcpu.mmu().invlpg(gva);
  for (SecondLevelTlb& second_level : of(vcpu).second_level) second_level.invlpg(vcpu.mmu().state(), gva);
}

void SoftwareTlb::flush() {
  for (Processor& processor : processors_)
    for (SecondLevelTlb& second_level : processor.second_level) second_level.flush();
}

}  // namespace vmem::vmm
