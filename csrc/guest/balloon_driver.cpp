#include "guest/balloon_driver.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "guest/kernel.hpp"

namespace vmem::guest {

namespace balloon = virtio::balloon;

std::unique_ptr<BalloonDriver> BalloonDriver::probe(hw::Vcpu& vcpu, std::uint32_t window, Kernel& kernel) {
  VirtioDriver device(window);
  // As this kernel poisons no free pages it asks for no PAGE_POISON (virtballoon_validate).
  if (!device.negotiate(vcpu, balloon::kMustTellHost | balloon::kStatsQueue | balloon::kDeflateOnOom)) return nullptr;
  auto driver = std::unique_ptr<BalloonDriver>(new BalloonDriver(device, kernel));
  return driver->set_up(vcpu) ? std::move(driver) : nullptr;
}

bool BalloonDriver::set_up(hw::Vcpu& vcpu) {
  const std::uint32_t queues = device_.has(balloon::kStatsQueue) ? 3 : 2;
  for (std::uint32_t index = 0; index < queues; ++index) {
    auto queue = device_.set_up_queue(vcpu, kernel_.pages(), index, 128);
    if (!queue) return false;
    queues_[index] = *std::move(queue);
  }
  const auto buffer = kernel_.pages().allocate(vcpu, 0, PageUse::kernel);
  if (!buffer) return false;
  buffer_ = buffer->address();
  work_ = kernel_.timers().add([this](hw::Vcpu& on) { work(on); });
  device_.start(vcpu);
  if (queues == 3) send_statistics(vcpu);
  if (towards_target(vcpu) != 0) kernel_.timers().arm(work_, vcpu.now());
  return true;
}

void BalloonDriver::on_interrupt(hw::Vcpu& vcpu) {
  const std::uint32_t reasons = device_.acknowledge(vcpu);
  if ((reasons & virtio::kConfigChange) != 0) {
    failed_ = device_.needs_reset(vcpu);
    if (!failed_ && gathered_.empty()) kernel_.timers().arm(work_, vcpu.now());
  }
  if ((reasons & virtio::kUsedBuffer) == 0 || failed_ || !device_.has(balloon::kStatsQueue)) return;
  // The host has used the statistics' buffer: it asks for new ones.
  virtio::VcpuMemory memory(vcpu);
  if (queues_[kStats].take(memory)) send_statistics(vcpu);
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
    leak(vcpu, static_cast<std::uint64_t>(-wanted));
  } else if (gather(vcpu, static_cast<std::uint64_t>(wanted))) {
    inflate_gathered(vcpu);
  } else {
    ++stat_.out_of_puff;
    kernel_.timers().arm(work_, vcpu.now() + kPause);
    return;
  }
  write_actual(vcpu);
  if (towards_target(vcpu) != 0) kernel_.timers().arm(work_, vcpu.now());
}

bool BalloonDriver::gather(hw::Vcpu& vcpu, std::uint64_t count) {
  count = std::min<std::uint64_t>(count, balloon::kPfnsPerRequest);
  while (gathered_.size() < count) {
    // balloon_page_alloc: GFP_HIGHUSER_MOVABLE | __GFP_NORETRY, so its pressure is reclaim's and nobody is killed.
    const auto page = kernel_.pages().allocate(vcpu, 0, PageUse::balloon, Need::once);
    if (!page) return false;
    gathered_.push_back(*page);
  }
  return true;
}

void BalloonDriver::inflate_gathered(hw::Vcpu& vcpu) {
  // fill_balloon stacks what it allocates: the last comes first.
  std::reverse(gathered_.begin(), gathered_.end());
  adjust_managed(vcpu, -1);
  stat_.inflated += gathered_.size();
  pages_.insert(pages_.end(), gathered_.begin(), gathered_.end());
  tell_host(vcpu, kInflate);
  gathered_.clear();
}

std::uint64_t BalloonDriver::leak(hw::Vcpu& vcpu, std::uint64_t count) {
  count = std::min({count, std::uint64_t{balloon::kPfnsPerRequest}, std::uint64_t{pages_.size()}});
  if (count == 0) return 0;
  const std::vector<Gfn> pending = std::move(gathered_);  // a pause may be under way
  gathered_.assign(pages_.rbegin(), pages_.rbegin() + static_cast<std::ptrdiff_t>(count));
  pages_.resize(pages_.size() - count);
  tell_host(vcpu, kDeflate);
  for (const Gfn page : gathered_) kernel_.pages().free(vcpu, page, 0);
  adjust_managed(vcpu, 1);
  gathered_ = pending;
  stat_.deflated += count;
  return count;
}

void BalloonDriver::tell_host(hw::Vcpu& vcpu, std::uint32_t queue) {
  virtio::VcpuMemory memory(vcpu);
  std::array<balloon::Pfn, balloon::kPfnsPerRequest> pfns{};
  for (std::size_t i = 0; i < gathered_.size(); ++i) pfns[i] = static_cast<balloon::Pfn>(gathered_[i].value);
  const std::size_t bytes = gathered_.size() * sizeof(balloon::Pfn);
  vcpu.write(buffer_, std::as_bytes(std::span(pfns)).first(bytes));
  const virtio::Buffer request{buffer_, static_cast<std::uint32_t>(bytes)};
  queues_[queue].add(memory, std::span(&request, 1), {});
  if (queues_[queue].must_notify(memory)) device_.notify(vcpu, queue);
  while (!queues_[queue].take(memory)) {
    if (failed_ || !vcpu.halt()) {
      failed_ = true;
      return;
    }
  }
  queues_[queue].take(memory);  // asks for the next interrupt
}

void BalloonDriver::write_actual(hw::Vcpu& vcpu) const {
  device_.write_config(vcpu, balloon::kActual, static_cast<std::uint32_t>(pages_.size()));
}

void BalloonDriver::adjust_managed(hw::Vcpu& vcpu, std::int64_t by) const {
  if (deflates_on_oom()) return;
  kernel_.pages().adjust_managed(vcpu, gathered_, by);
}

std::uint64_t BalloonDriver::on_out_of_memory(hw::Vcpu& vcpu) {
  if (failed_ || !deflates_on_oom()) return 0;
  const std::uint64_t freed = leak(vcpu, kOomPages);
  if (freed != 0) write_actual(vcpu);
  stat_.oom_deflated += freed;
  return freed;
}

void BalloonDriver::send_statistics(hw::Vcpu& vcpu) {
  using balloon::Tag;
  const VmStat& events = kernel_.vmstat();
  const MemInfo memory_now = kernel_.meminfo();
  const std::pair<Tag, std::uint64_t> told[] = {
      {Tag::swap_in, events.pswpin << kPageShift},
      {Tag::swap_out, events.pswpout << kPageShift},
      {Tag::major_faults, events.pgmajfault},
      {Tag::minor_faults, events.pgfault},
      {Tag::oom_kill, events.oom_kill},
      {Tag::free_memory, memory_now.MemFree << kPageShift},
      {Tag::total_memory, memory_now.MemTotal << kPageShift},
      {Tag::available_memory, memory_now.MemAvailable << kPageShift},
      {Tag::disk_caches, (memory_now.Buffers + memory_now.Cached + memory_now.SwapCached) << kPageShift},
  };
  std::array<std::byte, std::size(told) * balloon::kStatBytes> bytes{};
  for (std::size_t i = 0; i < std::size(told); ++i) {
    std::byte* const entry = bytes.data() + i * balloon::kStatBytes;
    std::memcpy(entry, &told[i].first, sizeof told[i].first);
    std::memcpy(entry + sizeof told[i].first, &told[i].second, sizeof told[i].second);
  }
  vcpu.write(buffer_ + kStatsAt, bytes);
  virtio::VcpuMemory memory(vcpu);
  const virtio::Buffer buffer{buffer_ + kStatsAt, static_cast<std::uint32_t>(bytes.size())};
  queues_[kStats].add(memory, std::span(&buffer, 1), {});
  queues_[kStats].want_interrupts(memory, true);
  if (queues_[kStats].must_notify(memory)) device_.notify(vcpu, kStats);
}

}  // namespace vmem::guest
