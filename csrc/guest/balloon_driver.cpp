#include "guest/balloon_driver.hpp"

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "guest/balloon_statistics.hpp"
#include "guest/kernel.hpp"

namespace vmem::guest {

namespace balloon = virtio::balloon;

std::uint64_t BalloonDriver::wanted_features(hw::Vcpu& vcpu, const VirtioDriver& device, Kernel& kernel) {
  const std::uint64_t all = balloon::kMustTellHost | balloon::kStatsQueue | balloon::kDeflateOnOom |
                            balloon::kFreePageHint | balloon::kPageReporting;
  // virtballoon_validate: who expects to find in its free pages what it put there lets the host discard them only if
  // the host knows what that is.
  if (kernel.parameters().on_free == OnFree::keep) return all;
  const bool can_tell = (device.offered(vcpu) & balloon::kPagePoison) != 0;
  return can_tell ? all | balloon::kPagePoison : all & ~balloon::kPageReporting;
}

std::unique_ptr<BalloonDriver> BalloonDriver::probe(hw::Vcpu& vcpu, std::uint32_t window, Kernel& kernel) {
  VirtioDriver device(window);
  if (!device.negotiate(vcpu, wanted_features(vcpu, device, kernel))) return nullptr;
  auto driver = std::unique_ptr<BalloonDriver>(new BalloonDriver(device, kernel));
  return driver->set_up(vcpu) ? std::move(driver) : nullptr;
}

std::optional<virtio::DriverQueue> BalloonDriver::next_queue(hw::Vcpu& vcpu, std::uint16_t most) {
  auto queue = device_.set_up_queue(vcpu, kernel_.pages(), static_cast<std::uint32_t>(rings_.size()), most);
  if (queue) rings_.push_back(queue->rings());
  return queue;
}

bool BalloonDriver::set_up(hw::Vcpu& vcpu) {
  const std::size_t queues = device_.has(balloon::kStatsQueue) ? 3 : 2;
  while (queues_.size() < queues) {
    auto queue = next_queue(vcpu, 128);
    if (!queue) return false;
    queues_.push_back(*std::move(queue));
  }
  const auto buffer = kernel_.pages().allocate(vcpu, 0, PageUse::kernel);
  if (!buffer) return false;
  buffer_ = buffer->address();
  work_ = kernel_.timers().add([this](hw::Vcpu& on) { work(on); });
  if (device_.has(balloon::kFreePageHint) && !set_up_hinting(vcpu)) return false;
  if (device_.has(balloon::kPageReporting) && !set_up_reporting(vcpu)) return false;
  if (device_.has(balloon::kPagePoison))
    device_.write_config(vcpu, balloon::kPoison,
                         kernel_.parameters().on_free == OnFree::zero ? 0 : kPagePoison * 0x0101'0101u);
  device_.start(vcpu);
  if (queues == 3) send_statistics(vcpu);
  if (towards_target(vcpu) != 0) kernel_.timers().arm(work_, vcpu.now());
  return true;
}

bool BalloonDriver::set_up_hinting(hw::Vcpu& vcpu) {
  const auto index = static_cast<std::uint32_t>(rings_.size());
  auto queue = next_queue(vcpu, 1024);
  if (!queue) return false;
  hinting_ = std::make_unique<FreePageHinting>(device_, index, *std::move(queue), kernel_.pages(), kernel_.timers(),
                                               buffer_ + kIdsAt, [this] { return failed_; });
  kernel_.reclaim().add_shrinker(*hinting_);
  return true;
}

bool BalloonDriver::set_up_reporting(hw::Vcpu& vcpu) {
  reporting_queue_ = static_cast<std::uint32_t>(rings_.size());
  auto queue = next_queue(vcpu, PageReporting::kCapacity);
  // virtballoon_probe: -ENOSPC
  if (!queue || queue->free_descriptors() < PageReporting::kCapacity) return false;
  queues_.resize(reporting_queue_ + 1);
  queues_[reporting_queue_] = *std::move(queue);
  reporting_ = std::make_unique<PageReporting>(
      kernel_.pages(), kernel_.timers(),
      [this](hw::Vcpu& on, std::span<const virtio::Buffer> blocks) { return report(on, blocks); });
  return true;
}

void BalloonDriver::on_interrupt(hw::Vcpu& vcpu) {
  const std::uint32_t reasons = device_.acknowledge(vcpu);
  if ((reasons & virtio::kConfigChange) != 0) {
    failed_ = device_.needs_reset(vcpu);
    if (!failed_ && gathered_.empty() && !is_telling_) kernel_.timers().arm(work_, vcpu.now());
    if (!failed_ && hinting_ != nullptr) hinting_->on_config_change();
  }
  if ((reasons & virtio::kUsedBuffer) == 0 || failed_ || !device_.has(balloon::kStatsQueue)) return;
  // The host has used the statistics' buffer: it asks for new ones.
  virtio::VcpuMemory memory(vcpu);
  if (queues_[kStats].take(memory)) send_statistics(vcpu);
}

void BalloonDriver::remove(hw::Vcpu& vcpu) {
  kernel_.timers().cancel(work_);
  for (const Gfn page : std::exchange(gathered_, {})) kernel_.pages().free(vcpu, page, 0);
  LinuxBalloonPolicy last_first;
  while (!pages_.empty() && !failed_) deflate(vcpu, last_first.release(pages_, pages_.size()));
  if (hinting_ != nullptr) hinting_->release_all(vcpu);
  write_actual(vcpu);
  failed_ = true;
  device_.reset(vcpu);
}

std::int64_t BalloonDriver::towards_target(hw::Vcpu& vcpu) const {
  return static_cast<std::int64_t>(device_.read_config(vcpu, balloon::kNumPages)) -
         static_cast<std::int64_t>(pages_.size());
}

void BalloonDriver::work(hw::Vcpu& vcpu) {
  if (failed_) return;
  if (!gathered_.empty()) {  // after a pause: what there was before it
    inflate_gathered(vcpu);
    write_actual(vcpu);
  }
  const std::int64_t wanted = towards_target(vcpu);
  if (wanted == 0) return;
  if (wanted < 0) {
    const std::vector<Gfn> leaving = policy_->release(pages_, static_cast<std::uint64_t>(-wanted));
    if (leaving.empty()) {
      kernel_.timers().arm(work_, vcpu.now() + kPause);
      return;
    }
    deflate(vcpu, leaving);
  } else if (gather(vcpu, static_cast<std::uint64_t>(wanted))) {
    inflate_gathered(vcpu);
  } else {
    ++stat_.out_of_puff;
    kernel_.timers().arm(work_, vcpu.now() + kPause);
    return;
  }
  write_actual(vcpu);
  if (towards_target(vcpu) != 0) kernel_.timers().arm(work_, vcpu.now() + policy_->delay());
}

bool BalloonDriver::gather(hw::Vcpu& vcpu, std::uint64_t count) {
  BalloonHand hand(kernel_.pages(), vcpu);
  BalloonPolicy::Choice choice = policy_->choose(hand, count);
  gathered_ = std::move(choice.pages);
  return !choice.out_of_puff;
}

void BalloonDriver::inflate_gathered(hw::Vcpu& vcpu) {
  adjust_managed(vcpu, gathered_, -1);
  stat_.inflated += gathered_.size();
  for (const Gfn page : gathered_) set<&Page::flags>(vcpu, page_entry(page), page_flag::kOffline);
  pages_.insert(pages_.end(), gathered_.begin(), gathered_.end());
  tell_host(vcpu, kInflate, gathered_);
  gathered_.clear();
}

void BalloonDriver::deflate(hw::Vcpu& vcpu, const std::vector<Gfn>& pages) {
  if (pages.empty()) return;
  if (std::equal(pages.begin(), pages.end(), pages_.rbegin())) {
    pages_.resize(pages_.size() - pages.size());
  } else {
    std::unordered_set<std::uint64_t> leaving;
    for (const Gfn page : pages) leaving.insert(page.value);
    std::erase_if(pages_, [&](Gfn page) { return leaving.contains(page.value); });
  }
  tell_host(vcpu, kDeflate, pages);
  for (const Gfn page : pages) kernel_.pages().free(vcpu, page, 0);
  adjust_managed(vcpu, pages, 1);
  stat_.deflated += pages.size();
}

void BalloonDriver::tell_host(hw::Vcpu& vcpu, std::uint32_t queue, std::span<const Gfn> pages) {
  std::array<balloon::Pfn, kMostPfns> pfns;
  virtio::VcpuMemory memory(vcpu);
  is_telling_ = true;
  while (!pages.empty() && !failed_) {
    const std::size_t count = std::min(pages.size(), pfns.size());
    std::transform(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(count), pfns.begin(),
                   [](Gfn page) { return static_cast<balloon::Pfn>(page.value); });
    const std::size_t bytes = count * sizeof(balloon::Pfn);
    vcpu.write(buffer_, std::as_bytes(std::span(pfns)).first(bytes));
    const virtio::Buffer request{buffer_, static_cast<std::uint32_t>(bytes)};
    queues_[queue].add(memory, std::span(&request, 1), {});
    kick_and_wait(vcpu, queue);
    pages = pages.subspan(count);
  }
  is_telling_ = false;
}

bool BalloonDriver::kick_and_wait(hw::Vcpu& vcpu, std::uint32_t queue) {
  virtio::VcpuMemory memory(vcpu);
  if (queues_[queue].must_notify(memory)) device_.notify(vcpu, queue);
  while (!queues_[queue].take(memory)) {
    if (failed_ || !vcpu.halt()) {
      failed_ = true;
      return false;
    }
  }
  queues_[queue].take(memory);  // asks for the next interrupt
  return true;
}

bool BalloonDriver::report(hw::Vcpu& vcpu, std::span<const virtio::Buffer> blocks) {
  if (failed_) return false;
  virtio::VcpuMemory memory(vcpu);
  queues_[reporting_queue_].add(memory, {}, blocks);
  return kick_and_wait(vcpu, reporting_queue_);
}

void BalloonDriver::write_actual(hw::Vcpu& vcpu) const {
  device_.write_config(vcpu, balloon::kActual, static_cast<std::uint32_t>(pages_.size()));
}

void BalloonDriver::adjust_managed(hw::Vcpu& vcpu, std::span<const Gfn> pages, std::int64_t by) const {
  if (deflates_on_oom()) return;
  kernel_.pages().adjust_managed(vcpu, pages, by);
}

std::uint64_t BalloonDriver::on_out_of_memory(hw::Vcpu& vcpu) {
  if (failed_ || !deflates_on_oom()) return 0;
  const std::vector<Gfn> pages = LinuxBalloonPolicy().release(pages_, kOomPages);
  deflate(vcpu, pages);
  if (!pages.empty()) write_actual(vcpu);
  stat_.oom_deflated += pages.size();
  return pages.size();
}

void BalloonDriver::send_statistics(hw::Vcpu& vcpu) {
  const BalloonStatistics bytes = balloon_statistics(kernel_);
  vcpu.write(buffer_ + kStatsAt, bytes);
  virtio::VcpuMemory memory(vcpu);
  const virtio::Buffer buffer{buffer_ + kStatsAt, static_cast<std::uint32_t>(bytes.size())};
  queues_[kStats].add(memory, std::span(&buffer, 1), {});
  queues_[kStats].want_interrupts(memory, true);
  if (queues_[kStats].must_notify(memory)) device_.notify(vcpu, kStats);
}

}  // namespace vmem::guest
