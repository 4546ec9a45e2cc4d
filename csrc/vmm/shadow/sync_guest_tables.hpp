// What sync="trace" and sync="unsync" share: shadow pages stand for guest tables, which are write-protected.
#pragma once

#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/shadow/synchroniser.hpp"

namespace vmem::vmm {

class GuestTableSynchroniser : public Synchroniser {
 public:
  explicit GuestTableSynchroniser(ShadowMmu& shadow) : shadow_(shadow) {}
  ShadowKey key(std::uint64_t cr3, Gfn gfn, int level, Gva gva) const override;

 protected:
  /// Replays a store on the shadow pages of the table: what stood for the old entries goes, what can be known of the
  /// new ones comes.
  void replay_store(Gfn gfn, std::uint64_t offset, std::size_t size);

  ShadowMmu& shadow_;
};

}  // namespace vmem::vmm
