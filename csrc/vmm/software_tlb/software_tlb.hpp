// The hypervisor of a processor without a page walker: it owns the TLB, the guest believes that it does.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "core/access.hpp"
#include "core/address.hpp"
#include "hw/handlers.hpp"
#include "vmm/software_tlb/second_level_tlb.hpp"

namespace vmem::vmm {

class Vm;

/// The guest's kernel walks its own table and supplies gVA → gPA; here it becomes gVA → hPA
/// (docs/design/software-tlb.md). Invariant: what the TLBs hold permits no more than the guest wrote and the second
/// stage allows.
class SoftwareTlb {
 public:
  /// `entries` of second-level TLB for each vCPU; 0: none. ConfigError if that is no multiple of SecondLevelTlb::kWays.
  SoftwareTlb(Vm& vm, std::uint32_t entries);

  // --- exits of a vCPU ---

  /// No TLB entry, or a store through a clean one: the second level has it, or the guest must find it.
  hw::Outcome on_refill(hw::Vcpu& vcpu, hw::Fault& fault);
  void on_tlb_write(hw::Vcpu& vcpu, const hw::TlbWrite& write);
  void on_cr3_write(hw::Vcpu& vcpu, std::uint64_t value);
  void on_invlpg(hw::Vcpu& vcpu, Gva gva);

  /// Machine frames are about to go, or what they permit changes: no second-level TLB holds any afterwards.
  void flush();
  /// Calls `use(vcpu, key, entry)` for every entry of the second-level TLBs; for invariant checks.
  template <class Use>
  void for_each_entry(Use&& use) const {
    for (std::size_t i = 0; i < processors_.size(); ++i)
      for (const SecondLevelTlb& second_level : processors_[i].second_level)
        second_level.for_each([&](std::uint64_t key, const hw::TlbEntry& entry) { use(i, key, entry); });
  }

 private:
  /// Of one vCPU.
  struct Processor {
    AccessKind access = AccessKind::load;  ///< that raised the latest exception
    /// What the access will come to when it is made again, if it could not be given a TLB entry.
    hw::Outcome without_entry = hw::Outcome::retry;
    Gva page;                                ///< of that access
    Gpa gpa;                                 ///< where it goes, if it must be emulated
    std::list<SecondLevelTlb> second_level;  ///< none or one; a list, because they do not move
  };

  Processor& of(const hw::Vcpu& vcpu);
  hw::Outcome insert(hw::Vcpu& vcpu, const hw::TlbWrite& write, Gpa gpa);

  Vm& vm_;
  std::vector<Processor> processors_;  ///< by vCPU
};

}  // namespace vmem::vmm
