// Tells the hypervisor of freed memory by hypercall.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/page_allocator.hpp"
#include "guest/timers.hpp"

namespace vmem::guest {

/// Every block, as it is freed, as Linux's arch_free_page hook allows: single pages that go to a per-CPU list, too.
class FreePageHints final : public FreeListener {
 public:
  bool on_free(hw::Vcpu& vcpu, Gfn gfn, int order) override;
  void flush(hw::Vcpu&) override {}
};

/// Many in one call. The blocks of a batch are nobody's until the hypervisor has heard of them: else it would take a
/// page that is in use again. A batch that does not fill up is sent after a second.
class BatchedFreePageHints final : public FreeListener {
 public:
  static constexpr std::uint64_t kBlocks = 512;

  /// ConfigError if there is no frame for the batch.
  BatchedFreePageHints(hw::Vcpu& boot, PageAllocator& pages, Timers& timers);
  bool on_free(hw::Vcpu& vcpu, Gfn gfn, int order) override;
  void flush(hw::Vcpu& vcpu) override;

 private:
  Gpa entry(std::uint64_t index) const { return batch_.address() + index * sizeof(std::uint64_t); }

  PageAllocator& pages_;
  Timers& timers_;
  Timers::Id timer_;
  Gfn batch_{};  ///< the frame that holds it
  std::uint64_t count_ = 0;
};

}  // namespace vmem::guest
