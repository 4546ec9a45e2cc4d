#include "guest/page_reporting.hpp"

#include <bit>
#include <utility>

namespace vmem::guest {
namespace {

int order_of(const virtio::Buffer& block) { return std::countr_zero(block.length >> kPageShift); }

}  // namespace

PageReporting::PageReporting(PageAllocator& pages, Timers& timers, Report report)
    : pages_(pages),
      timers_(timers),
      report_(std::move(report)),
      work_(timers.add([this](hw::Vcpu& vcpu) { run(vcpu); })) {
  pages.tell_of_blocks(*this, kOrder);
  on_large_block();
}

void PageReporting::on_large_block() {
  if (std::exchange(state_, State::requested) == State::idle) timers_.arm(work_, timers_.now() + kDelay);
}

void PageReporting::run(hw::Vcpu& vcpu) {
  state_ = State::active;
  ++stat_.cycles;
  for (int zone = 0; zone < kZones; ++zone)
    if (!run_zone(vcpu, zone)) break;
  if (state_ == State::requested) {
    timers_.arm(work_, vcpu.now() + kDelay);
  } else {
    state_ = State::idle;
  }
}

bool PageReporting::run_zone(hw::Vcpu& vcpu, int zone) {
  // Enough that isolating a whole request cannot bring the zone below its low watermark.
  const std::uint64_t least = pages_.watermarks(zone).low + (kCapacity << kOrder);
  if (pages_.buddy(zone).free_frames(vcpu) <= least) return true;
  first_ = kCapacity;
  for (int order = kOrder; order <= kMaxOrder; ++order)
    if (!run_list(vcpu, zone, order)) return false;
  return first_ == kCapacity || hand_over(vcpu, zone);
}

bool PageReporting::may_isolate(hw::Vcpu& vcpu, int zone, int order) const {
  return pages_.buddy(zone).free_frames(vcpu) > pages_.watermarks(zone).min + (1ull << order);
}

bool PageReporting::run_list(hw::Vcpu& vcpu, int zone, int order) {
  const Buddy buddy = pages_.buddy(zone);
  constexpr std::uint64_t kPart = kCapacity * kBudgetParts;
  auto budget = static_cast<std::int64_t>((buddy.free_blocks(vcpu, order) + kPart - 1) / kPart);
  Gfn block = buddy.first_free(vcpu, order);
  while (block.value != 0) {
    const Gfn next = Buddy::next_free(vcpu, block);
    if (Buddy::is_reported(vcpu, block)) {
      block = next;
      continue;
    }
    if (budget < 0) {
      state_ = State::requested;
      break;
    }
    if (first_ != 0) {
      if (!may_isolate(vcpu, zone, order)) break;
      buddy.isolate(vcpu, block, order);
      list_[--first_] = {block.address(), static_cast<std::uint32_t>(kPageSize << order)};
      block = next;
      continue;
    }
    // The list is gone through anew after the wait: what is left to do comes first.
    buddy.rotate_to_front(vcpu, block, order);
    --budget;
    if (!hand_over(vcpu, zone)) return false;
    block = buddy.first_free(vcpu, order);
  }
  if (block.value != 0) buddy.rotate_to_front(vcpu, block, order);
  return true;
}

bool PageReporting::hand_over(hw::Vcpu& vcpu, int zone) {
  const std::span<const virtio::Buffer> told = std::span(list_).subspan(first_);
  const bool done = report_(vcpu, told);
  ++stat_.requests;
  for (const virtio::Buffer& block : told) {
    const int order = order_of(block);
    // Merged with a neighbour of which the host does not know, the whole has to be told.
    if (pages_.buddy(zone).put_back(vcpu, block.at.frame(), order) == order && done)
      Buddy::set_reported(vcpu, block.at.frame());
    ++stat_.blocks;
    stat_.pages += 1ull << order;
  }
  first_ = kCapacity;
  return done;
}

}  // namespace vmem::guest
