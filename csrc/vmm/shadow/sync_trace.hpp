// sync="trace": every store to a guest table exits and is emulated, so the shadow is always in step.
#pragma once

#include "vmm/shadow/sync_guest_tables.hpp"

namespace vmem::vmm {

class TraceSynchroniser final : public GuestTableSynchroniser {
 public:
  using GuestTableSynchroniser::GuestTableSynchroniser;
  void on_use(ShadowPage& page) override {
    if (!page.traced) shadow_.trace(page);
  }
  void on_store(Gfn gfn, std::uint64_t offset, std::size_t size) override { replay_store(gfn, offset, size); }
  void on_flush(hw::Vcpu&, std::uint64_t) override {}
  void on_invlpg(hw::Vcpu&, Gva) override {}
};

}  // namespace vmem::vmm
