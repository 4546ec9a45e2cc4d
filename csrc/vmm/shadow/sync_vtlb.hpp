// sync="vtlb": the shadow is a virtual TLB. The guest's tables are never traced.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/shadow/synchroniser.hpp"

namespace vmem::vmm {

/// One tree for each (guest root, PCID), filled on faults, and dropped when the guest says that it changed something:
/// as a TLB would, it may keep what the guest has changed without saying so.
class VtlbSynchroniser final : public Synchroniser {
 public:
  explicit VtlbSynchroniser(ShadowMmu& shadow) : shadow_(shadow) {}
  ShadowKey key(std::uint64_t cr3, Gfn gfn, int level, Gva gva) const override;
  void on_use(ShadowPage&) override {}
  void on_store(Gfn, std::uint64_t, std::size_t) override {}
  void on_flush(hw::Vcpu& vcpu, std::uint64_t cr3) override;
  void on_invlpg(hw::Vcpu& vcpu, Gva gva) override;

 private:
  void drop_path(const ShadowPage& root, Gva gva, bool only_global);

  ShadowMmu& shadow_;
};

}  // namespace vmem::vmm
