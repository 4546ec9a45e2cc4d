// sync="unsync": a level-1 table may go out of step between two flushes, as in KVM.
#pragma once

#include <vector>

#include "vmm/shadow/sync_guest_tables.hpp"

namespace vmem::vmm {

/// A guest that changes an entry must flush before it may rely on the change; until then an old translation is as good
/// as one a TLB would hold.
class UnsyncSynchroniser final : public GuestTableSynchroniser {
 public:
  using GuestTableSynchroniser::GuestTableSynchroniser;
  void on_use(ShadowPage& page) override;
  void on_store(Gfn gfn, std::uint64_t offset, std::size_t size) override;
  void on_flush(hw::Vcpu& vcpu, std::uint64_t cr3) override;
  void on_invlpg(hw::Vcpu& vcpu, Gva gva) override;

 private:
  std::vector<ShadowKey> out_of_step_;  ///< some of them may be gone or in step again
};

}  // namespace vmem::vmm
