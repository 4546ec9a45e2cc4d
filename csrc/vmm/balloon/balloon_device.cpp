#include "vmm/balloon/balloon_device.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.hpp"
#include "vmm/balloon/discard.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm::balloon {
namespace {

using virtio::balloon::Pfn;

std::uint64_t features(const BalloonConfig& config) {
  return (config.statistics ? virtio::balloon::kStatsQueue : 0) |
         (config.must_tell_host ? virtio::balloon::kMustTellHost : 0) |
         (config.deflate_on_oom ? virtio::balloon::kDeflateOnOom : 0) |
         (config.free_page_hint ? virtio::balloon::kFreePageHint : 0) |
         (config.page_poison ? virtio::balloon::kPagePoison : 0) |
         (config.free_page_reporting ? virtio::balloon::kPageReporting : 0);
}

/// Queues are numbered over those that exist, as QEMU and Linux do.
std::vector<std::uint16_t> queues(const BalloonConfig& config) {
  std::vector<std::uint16_t> sizes(config.statistics ? 3 : 2, BalloonDevice::kQueueSize);
  if (config.free_page_hint) sizes.push_back(BalloonDevice::kHintingQueueSize);
  if (config.free_page_reporting) sizes.push_back(BalloonDevice::kReportingQueueSize);
  return sizes;
}

/// Calls `use(pfn)` for each page of a request; what is no whole number at its end is left out.
template <class Use>
void for_each_pfn(GuestMemory& memory, const virtio::Chain& chain, Use&& use) {
  virtio::Stream stream(chain.readable);
  std::array<Pfn, virtio::balloon::kPfnsPerRequest> pfns;
  while (stream.left() >= sizeof(Pfn)) {
    const std::size_t count = std::min<std::uint64_t>(pfns.size(), stream.left() / sizeof(Pfn));
    stream.read(memory, std::as_writable_bytes(std::span(pfns).first(count)));
    for (std::size_t i = 0; i < count; ++i) use(Gfn{pfns[i]});
  }
}

}  // namespace

BalloonDevice::BalloonDevice(Vm& vm, std::uint32_t window, const BalloonConfig& config)
    : VirtioDevice(vm, window, virtio::kBalloonDeviceId, features(config), queues(config)),
      config_(config),
      stats_queue_(config.statistics ? 2 : kNoQueue),
      hinting_queue_(!config.free_page_hint ? kNoQueue
                     : config.statistics    ? 3
                                            : 2),
      reporting_queue_(
          !config.free_page_reporting ? kNoQueue : 2u + (config.statistics ? 1 : 0) + (config.free_page_hint ? 1 : 0)),
      held_(vm.frames()),
      partial_(page_frames(vm.config().backing.largest)) {
  if (vm.is_native())
    throw ConfigError("VM '" + vm.config().name + "': a native machine has no hypervisor, and so no balloon");
}

std::uint64_t BalloonDevice::ram() const { return held_.size() << kPageShift; }

void BalloonDevice::set_target(std::uint64_t bytes) {
  wanted_ = (ram() - std::min(bytes, ram())) >> kPageShift;
  retarget();
}

void BalloonDevice::set_pressure(std::uint64_t pages) {
  if (pages == pressure_) return;
  pressure_ = std::min(pages, held_.size());
  if (std::max(wanted_, pressure_) != num_pages_) retarget();
}

void BalloonDevice::retarget() {
  num_pages_ = static_cast<std::uint32_t>(std::max(wanted_, pressure_));
  resizes_.on_target(vm().host().clock.now(), num_pages_, actual_);
  vm().host().events.add("balloon_target", vm().config().name, {{"bytes", target()}});
  config_changed();
}

void BalloonDevice::set_polling_interval(std::uint32_t seconds) {
  interval_ = seconds;
  deadline_ = seconds == 0 ? kNever : vm().host().clock.now() + seconds * kSecond;
}

void BalloonDevice::run_due(Nanoseconds now) {
  ask_for_statistics();
  deadline_ = now + interval_ * kSecond;
}

void BalloonDevice::on_reset() {
  // The new driver owns all of its memory. Target, `actual` and statistics stay until it says otherwise, as in QEMU.
  held_.assign(held_.size(), false);
  held_count_ = 0;
  has_stats_buffer_ = false;
  has_told_id_ = false;
  rounds_.stop();
  poison_ = 0;
}

std::uint32_t BalloonDevice::read_config(std::uint32_t offset) {
  switch (offset) {
    case virtio::balloon::kNumPages:
      return num_pages_;
    case virtio::balloon::kActual:
      return actual_;
    case virtio::balloon::kPoison:
      return config_.page_poison ? poison_ : ~0u;
    case virtio::balloon::kHintCommand:
      if (config_.free_page_hint) return rounds_.command();
      return config_.page_poison ? 0 : ~0u;
    default:
      return ~0u;
  }
}

void BalloonDevice::note_change(Nanoseconds at) {
  if (!is_watched_) return;
  // A guest may write faster than anybody takes.
  if (changes_.size() == kChanges) changes_.pop_back();
  changes_.push_back({at, actual()});
}

void BalloonDevice::write_config(hw::Vcpu& vcpu, std::uint32_t offset, std::uint32_t value) {
  if (offset == virtio::balloon::kActual) {
    if (!has(virtio::balloon::kDeflateOnOom) && value < actual_ && value < num_pages_) broke(Rule::below_target);
    if (value != held_count_) broke(Rule::actual_wrong);
    const std::uint32_t before =
        std::exchange(actual_, static_cast<std::uint32_t>(std::min<std::uint64_t>(value, held_.size())));
    if (actual_ != before) note_change(vcpu.now());
    resizes_.on_actual(vcpu.now(), actual_);
  } else if (offset == virtio::balloon::kPoison && config_.page_poison) {
    if (is_up()) {
      broke(Rule::poison_changed);
    } else {
      poison_ = value;
    }
  } else {
    broke(Rule::read_only_config);
  }
}

void BalloonDevice::on_notify(hw::Vcpu& vcpu, std::uint32_t queue) {
  GuestMemory memory(vm(), vcpu);
  if (queue == kInflate) {
    inflate(memory);
  } else if (queue == kDeflate) {
    deflate(memory);
  } else if (queue == stats_queue_) {
    take_statistics(memory);
  } else if (queue == hinting_queue_) {
    take_hints(memory);
  } else {
    take_reports(memory);
  }
}

void BalloonDevice::inflate(GuestMemory& memory) {
  const bool small = vm().config().backing.largest == PageSize::k4K;
  while (pop(memory, kInflate, chain_)) {
    ++stat_.inflate_requests;
    {
      Discard discard(vm());
      Counters& counters = memory.vcpu().mmu().event_counters();
      partial_.forget();
      for_each_pfn(memory, chain_, [&](Gfn gfn) {
        if (!vm().contains(gfn)) {
          broke(Rule::pfn_outside);
          return;
        }
        if (held_[gfn.value]) broke(Rule::inflated_twice);
        held_count_ += held_[gfn.value] ? 0 : 1;
        held_[gfn.value] = true;
        ++stat_.inflated;
        ++counters.balloon_inflated;
        if (inhibited_) return;
        if (small) {
          stat_.discarded += discard.page(gfn);
        } else if (partial_.add(gfn)) {
          stat_.discarded += discard.range(partial_.base(), page_frames(vm().config().backing.largest));
        }
      });
      discard.add_to(counters);
    }
    push(memory, kInflate, chain_.head, 0);
  }
}

void BalloonDevice::deflate(GuestMemory& memory) {
  const bool told_first = has(virtio::balloon::kMustTellHost);
  const bool can_see = !inhibited_ && vm().config().backing.largest == PageSize::k4K;
  while (pop(memory, kDeflate, chain_)) {
    ++stat_.deflate_requests;
    for_each_pfn(memory, chain_, [&](Gfn gfn) {
      if (!vm().contains(gfn)) {
        broke(Rule::pfn_outside);
        return;
      }
      if (!held_[gfn.value]) {
        broke(Rule::deflated_not_inflated);
        return;
      }
      if (told_first && can_see && vm().second_stage()->find(gfn).present) broke(Rule::used_before_told);
      held_[gfn.value] = false;
      --held_count_;
      ++stat_.deflated;
      ++memory.vcpu().mmu().event_counters().balloon_deflated;
    });
    push(memory, kDeflate, chain_.head, 0);
  }
}

void BalloonDevice::take_statistics(GuestMemory& memory) {
  while (pop(memory, stats_queue_, chain_)) {
    if (has_stats_buffer_) {
      broke(Rule::second_stats_buffer);
      push(memory, stats_queue_, stats_head_, 0);
    }
    has_stats_buffer_ = true;
    stats_head_ = chain_.head;
    virtio::Stream stream(chain_.readable);
    if (stream.left() % virtio::balloon::kStatBytes != 0) broke(Rule::bad_stats);
    std::array<std::byte, virtio::balloon::kStatBytes> entry;
    while (stream.read(memory, entry)) {
      std::uint16_t tag = 0;
      std::uint64_t value = 0;
      std::memcpy(&tag, entry.data(), sizeof tag);
      std::memcpy(&value, entry.data() + sizeof tag, sizeof value);
      if (tag < statistics_.values.size()) statistics_.values[tag] = value;
    }
    statistics_.updated = memory.vcpu().now();
    statistics_.ever = true;
  }
}

void BalloonDevice::ask_for_statistics() {
  if (!has_stats_buffer_ || !is_up()) return;
  has_stats_buffer_ = false;
  GuestMemory memory(vm(), vm().vcpu(0));
  push(memory, stats_queue_, stats_head_, 0);
}

}  // namespace vmem::vmm::balloon
