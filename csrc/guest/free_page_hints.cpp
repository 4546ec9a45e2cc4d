#include "guest/free_page_hints.hpp"

#include "core/error.hpp"
#include "guest/page_array.hpp"

namespace vmem::guest {

bool FreePageHints::on_free(hw::Vcpu& vcpu, Gfn gfn, int order) {
  vcpu.hypercall(hw::Hypercall::free_block, gfn.value, static_cast<std::uint64_t>(order));
  return false;
}

BatchedFreePageHints::BatchedFreePageHints(hw::Vcpu& boot, PageAllocator& pages, Timers& timers)
    : pages_(pages), timers_(timers), timer_(timers.add([this](hw::Vcpu& vcpu) { flush(vcpu); })) {
  const auto frame = pages.allocate(boot, 0, PageUse::kernel);
  if (!frame) throw ConfigError("the guest's memory has no frame for a batch of freed pages");
  batch_ = *frame;
}

bool BatchedFreePageHints::on_free(hw::Vcpu& vcpu, Gfn gfn, int order) {
  auto page = vcpu.load<Page>(page_entry(gfn));
  page.use = PageUse::kernel;
  page.order = static_cast<std::uint8_t>(order);
  page.flags = 0;
  page.references = 0;
  vcpu.store(page_entry(gfn), page);
  vcpu.store(entry(count_), gfn.value << 8 | static_cast<std::uint64_t>(order));
  if (count_++ == 0) timers_.arm(timer_, timers_.now() + kSecond);
  if (count_ == kBlocks) flush(vcpu);
  return true;
}

void BatchedFreePageHints::flush(hw::Vcpu& vcpu) {
  if (count_ == 0) return;
  vcpu.hypercall(hw::Hypercall::free_batch, batch_.address().value, count_);
  for (std::uint64_t i = 0; i < count_; ++i) {
    const auto block = vcpu.load<std::uint64_t>(entry(i));
    pages_.give(vcpu, Gfn{block >> 8}, static_cast<int>(block & 0xff));
  }
  count_ = 0;
  timers_.cancel(timer_);
}

}  // namespace vmem::guest
