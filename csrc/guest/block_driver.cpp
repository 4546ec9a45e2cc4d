#include "guest/block_driver.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.hpp"

namespace vmem::guest {

namespace block = virtio::block;

std::unique_ptr<BlockDriver> BlockDriver::probe(hw::Vcpu& vcpu, PageAllocator& pages, std::uint32_t window) {
  VirtioDriver device(window);
  if (!device.negotiate(vcpu, block::kFlush)) return nullptr;
  auto queue = device.set_up_queue(vcpu, pages, 0, 128);
  constexpr int kOrder = 3;
  static_assert(kPageSize << kOrder >= kSlots * kSlotBytes);
  const auto slots = pages.allocate(vcpu, kOrder, PageUse::kernel);
  if (!queue || !slots) return nullptr;
  const std::uint64_t sectors = device.read_config64(vcpu, block::kCapacity);
  device.start(vcpu);
  return std::unique_ptr<BlockDriver>(new BlockDriver(device, *std::move(queue), slots->address(), sectors));
}

BlockDriver::BlockDriver(VirtioDriver device, virtio::DriverQueue queue, Gpa slots, std::uint64_t sectors)
    : device_(device),
      queue_(std::move(queue)),
      slots_(slots),
      sectors_(sectors),
      slot_of_(queue_.rings().size, kNone) {}

bool BlockDriver::sleep(hw::Vcpu& vcpu) {
  if (vcpu.halt()) return true;
  if (in_flight_ != 0 && !taken_[kSpare] && !failed_) {
    wake_up(vcpu);
    if (vcpu.halt()) return true;
  }
  fail_all(vcpu);
  return false;
}

void BlockDriver::wake_up(hw::Vcpu& vcpu) {
  taken_[kSpare] = true;
  ++in_flight_;
  start(vcpu, kSpare, block::Operation::flush, 0, {}, [](hw::Vcpu&, bool) {});
}

std::uint16_t BlockDriver::take_slot(hw::Vcpu& vcpu, std::size_t descriptors) {
  for (;;) {
    const auto free = std::find(taken_.begin(), taken_.begin() + kSpare, false);
    if (failed_) return kNone;
    if (free != taken_.begin() + kSpare && queue_.free_descriptors() >= descriptors) {
      *free = true;
      ++in_flight_;
      return static_cast<std::uint16_t>(free - taken_.begin());
    }
    sleep(vcpu);
  }
}

void BlockDriver::submit(hw::Vcpu& vcpu, block::Operation operation, std::uint64_t sector,
                         std::span<const virtio::Buffer> segments, Done done) {
  if (segments.size() > kMaxSegments)
    throw ConfigError("a block request of " + std::to_string(segments.size()) + " segments: accepted is up to " +
                      std::to_string(kMaxSegments));
  const std::size_t descriptors = device_.has(virtio::kIndirectDescriptors) ? 1 : segments.size() + 2;
  const std::uint16_t slot = take_slot(vcpu, descriptors);
  if (slot == kNone) {
    done(vcpu, false);
    return;
  }
  start(vcpu, slot, operation, sector, segments, std::move(done));
}

void BlockDriver::start(hw::Vcpu& vcpu, std::uint16_t slot, block::Operation operation, std::uint64_t sector,
                        std::span<const virtio::Buffer> segments, Done done) {
  done_[slot] = std::move(done);
  const Gpa at = slot_at(slot);
  vcpu.store(at, block::Header{operation, 0, sector});
  vcpu.store(at + kStatusAt, std::uint8_t{0xff});
  std::vector<virtio::Buffer> readable{{at, sizeof(block::Header)}}, writable;
  std::vector<virtio::Buffer>& data = operation == block::Operation::in ? writable : readable;
  for (const virtio::Buffer& segment : segments) data.push_back(segment);
  writable.push_back({at + kStatusAt, 1});
  enqueue(vcpu, slot, readable, writable);
}

bool BlockDriver::enqueue(hw::Vcpu& vcpu, std::uint16_t slot, std::span<const virtio::Buffer> readable,
                          std::span<const virtio::Buffer> writable) {
  virtio::VcpuMemory memory(vcpu);
  const auto head = device_.has(virtio::kIndirectDescriptors)
                        ? queue_.add_indirect(memory, slot_at(slot) + kTableAt, readable, writable)
                        : queue_.add(memory, readable, writable);
  if (!head) return false;
  slot_of_[*head] = slot;
  if (queue_.must_notify(memory)) device_.notify(vcpu, 0);
  return true;
}

bool BlockDriver::transfer(hw::Vcpu& vcpu, block::Operation operation, std::uint64_t sector,
                           std::span<const virtio::Buffer> segments) {
  enum class State : std::uint8_t { waiting, good, bad } state = State::waiting;
  submit(vcpu, operation, sector, segments, [&state](hw::Vcpu&, bool ok) { state = ok ? State::good : State::bad; });
  while (state == State::waiting) sleep(vcpu);
  return state == State::good;
}

void BlockDriver::drain(hw::Vcpu& vcpu) {
  while (in_flight_ > 0) sleep(vcpu);
}

void BlockDriver::on_interrupt(hw::Vcpu& vcpu) {
  const std::uint32_t reasons = device_.acknowledge(vcpu);
  if ((reasons & virtio::kUsedBuffer) != 0) harvest(vcpu);
  if ((reasons & virtio::kConfigChange) != 0 && device_.needs_reset(vcpu)) fail_all(vcpu);
}

void BlockDriver::harvest(hw::Vcpu& vcpu) {
  virtio::VcpuMemory memory(vcpu);
  while (const auto used = queue_.take(memory)) {
    const std::uint16_t slot = std::exchange(slot_of_[used->id], kNone);
    finish(vcpu, slot, vcpu.load<block::Status>(slot_at(slot) + kStatusAt) == block::Status::ok);
  }
}

void BlockDriver::finish(hw::Vcpu& vcpu, std::uint16_t slot, bool ok) {
  const Done done = std::move(done_[slot]);
  done_[slot] = nullptr;
  taken_[slot] = false;
  --in_flight_;
  done(vcpu, ok);
}

void BlockDriver::fail_all(hw::Vcpu& vcpu) {
  failed_ = true;
  for (std::uint16_t slot = 0; slot < kSlots; ++slot)
    if (taken_[slot]) finish(vcpu, slot, false);
}

}  // namespace vmem::guest
