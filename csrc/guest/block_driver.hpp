// Driver of the virtual disk.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "guest/virtio_driver.hpp"
#include "virtio/block.hpp"

namespace vmem::guest {

/// Requests of whole sectors between the disk and guest frames. A request that waits halts its vCPU until the
/// completion interrupt.
class BlockDriver {
 public:
  using Done = std::function<void(hw::Vcpu&, bool ok)>;
  static constexpr std::size_t kMaxSegments = 30;  ///< of one request

  /// nullptr: the device refuses, or the kernel has no memory for the queue.
  static std::unique_ptr<BlockDriver> probe(hw::Vcpu& vcpu, PageAllocator& pages, std::uint32_t window);

  std::uint64_t sectors() const { return sectors_; }
  hw::Vector vector() const { return device_.vector(); }
  std::size_t in_flight() const { return in_flight_; }

  /// Waits. False: the device answered with an error, or works no more. `segments`: whole sectors each, at most
  /// kMaxSegments.
  bool read(hw::Vcpu& vcpu, std::uint64_t sector, std::span<const virtio::Buffer> segments) {
    return transfer(vcpu, virtio::block::Operation::in, sector, segments);
  }
  bool write(hw::Vcpu& vcpu, std::uint64_t sector, std::span<const virtio::Buffer> segments) {
    return transfer(vcpu, virtio::block::Operation::out, sector, segments);
  }
  bool flush(hw::Vcpu& vcpu) { return transfer(vcpu, virtio::block::Operation::flush, 0, {}); }
  /// Does not wait, unless all slots are taken: `done` is called in the completion interrupt.
  void submit(hw::Vcpu& vcpu, virtio::block::Operation operation, std::uint64_t sector,
              std::span<const virtio::Buffer> segments, Done done);
  /// Waits until something happens. False: nothing ever will.
  bool wait(hw::Vcpu& vcpu) { return sleep(vcpu); }
  /// Waits until nothing is in flight.
  void drain(hw::Vcpu& vcpu);

  void on_interrupt(hw::Vcpu& vcpu);

 private:
  /// The last one is kept for `wake_up`.
  static constexpr std::uint16_t kSlots = 32, kSpare = kSlots - 1;
  static constexpr std::uint16_t kNone = 0xffff;
  /// Of each slot in guest memory: the header, the status byte, the table of indirect descriptors.
  static constexpr std::uint64_t kStatusAt = 16, kTableAt = 32, kSlotBytes = 1024;
  static_assert(kTableAt + 16 * (kMaxSegments + 2) <= kSlotBytes);

  BlockDriver(VirtioDriver device, virtio::DriverQueue queue, Gpa slots, std::uint64_t sectors);
  bool transfer(hw::Vcpu& vcpu, virtio::block::Operation operation, std::uint64_t sector,
                std::span<const virtio::Buffer> segments);
  void start(hw::Vcpu& vcpu, std::uint16_t slot, virtio::block::Operation operation, std::uint64_t sector,
             std::span<const virtio::Buffer> segments, Done done);
  std::uint16_t take_slot(hw::Vcpu& vcpu, std::size_t descriptors);
  bool enqueue(hw::Vcpu& vcpu, std::uint16_t slot, std::span<const virtio::Buffer> readable,
               std::span<const virtio::Buffer> writable);
  void harvest(hw::Vcpu& vcpu);
  void finish(hw::Vcpu& vcpu, std::uint16_t slot, bool ok);
  void fail_all(hw::Vcpu& vcpu);
  /// Sleeps until something happens. False: nothing ever will.
  bool sleep(hw::Vcpu& vcpu);
  /// Completions go to the vCPUs that asked. One that waits for another's gets an interrupt of its own: that of a
  /// flush, which ends after everything before it.
  void wake_up(hw::Vcpu& vcpu);
  Gpa slot_at(std::uint16_t slot) const { return slots_ + slot * kSlotBytes; }

  VirtioDriver device_;
  virtio::DriverQueue queue_;
  Gpa slots_;
  std::uint64_t sectors_;
  std::array<Done, kSlots> done_;
  std::vector<std::uint16_t> slot_of_;  ///< by head
  std::array<bool, kSlots> taken_{};
  std::size_t in_flight_ = 0;
  bool failed_ = false;
};

}  // namespace vmem::guest
