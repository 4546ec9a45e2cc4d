#include "guest/free_page_hinting.hpp"

#include <limits>
#include <utility>

namespace vmem::guest {

namespace balloon = virtio::balloon;

FreePageHinting::FreePageHinting(const VirtioDriver& device, std::uint32_t index, virtio::DriverQueue queue,
                                 PageAllocator& pages, Timers& timers, Gpa page, std::function<bool()> has_failed)
    : device_(device),
      index_(index),
      queue_(std::move(queue)),
      pages_(pages),
      timers_(timers),
      start_(page),
      stop_(page + sizeof(std::uint32_t)),
      has_failed_(std::move(has_failed)),
      work_(timers.add([this](hw::Vcpu& vcpu) { work(vcpu); })) {}

void FreePageHinting::on_config_change() {
  must_read_ = true;
  timers_.arm(work_, timers_.now());
}

std::uint32_t FreePageHinting::command(hw::Vcpu& vcpu) {
  if (std::exchange(must_read_, false)) received_ = device_.read_config(vcpu, balloon::kHintCommand);
  return received_;
}

void FreePageHinting::work(hw::Vcpu& vcpu) {
  if (has_failed_()) return;
  const std::uint32_t id = command(vcpu);
  if (id == balloon::kHintDone) {
    give_back(vcpu, std::numeric_limits<std::uint64_t>::max());
  } else if (id != balloon::kHintStop && id != active_) {
    ++stat_.rounds;
    active_ = id;
    send_command(vcpu, start_, id);
    while (command(vcpu) == active_ && !has_failed_() && send_block(vcpu)) {
    }
    send_command(vcpu, stop_, balloon::kHintStop);
  }
}

void FreePageHinting::send_command(hw::Vcpu& vcpu, Gpa at, std::uint32_t id) {
  take_used(vcpu);
  vcpu.store(at, id);
  virtio::VcpuMemory memory(vcpu);
  const virtio::Buffer buffer{at, sizeof id};
  queue_.add(memory, std::span(&buffer, 1), {});
  kick(vcpu);
}

bool FreePageHinting::send_block(hw::Vcpu& vcpu) {
  take_used(vcpu);
  const auto block = pages_.allocate(vcpu, kOrder, PageUse::kernel, Need::spare);
  if (!block) return false;
  // One descriptor is kept for STOP. Linux allocates and frees until the host has used one of the others; here, where
  // no time passes meanwhile, the vCPU sleeps.
  while (queue_.free_descriptors() <= 1) {
    if (has_failed_() || !vcpu.halt()) {
      pages_.free(vcpu, *block, kOrder);
      return false;
    }
    take_used(vcpu);
  }
  virtio::VcpuMemory memory(vcpu);
  const virtio::Buffer buffer{block->address(), static_cast<std::uint32_t>(kPageSize << kOrder)};
  queue_.add(memory, {}, std::span(&buffer, 1));
  kick(vcpu);
  blocks_.push_back(*block);
  ++stat_.blocks;
  return true;
}

void FreePageHinting::kick(hw::Vcpu& vcpu) {
  virtio::VcpuMemory memory(vcpu);
  if (queue_.must_notify(memory)) device_.notify(vcpu, index_);
}

void FreePageHinting::take_used(hw::Vcpu& vcpu) {
  virtio::VcpuMemory memory(vcpu);
  while (queue_.take(memory)) {
  }
}

std::uint64_t FreePageHinting::give_back(hw::Vcpu& vcpu, std::uint64_t blocks) {
  std::uint64_t given = 0;
  for (; given < blocks && !blocks_.empty(); ++given) {
    pages_.free(vcpu, blocks_.back(), kOrder);
    blocks_.pop_back();
  }
  return given;
}

std::uint64_t FreePageHinting::scan(hw::Vcpu& vcpu, std::uint64_t pages) {
  const std::uint64_t given = give_back(vcpu, (pages + (1ull << kOrder) - 1) >> kOrder);
  stat_.shrunk += given;
  return given << kOrder;
}

}  // namespace vmem::guest
