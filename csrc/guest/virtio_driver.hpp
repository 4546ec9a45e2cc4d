// What every virtio driver has in common: finding the device, agreeing on features, setting up queues.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/page_allocator.hpp"
#include "hw/vcpu.hpp"
#include "virtio/driver_queue.hpp"
#include "virtio/mmio.hpp"

namespace vmem::guest {

/// Speaks virtio-mmio to the device in one window of the bus.
class VirtioDriver {
 public:
  /// The device id in a window; 0 if nothing answers there.
  static std::uint32_t device_in(hw::Vcpu& vcpu, std::uint32_t window);

  explicit VirtioDriver(std::uint32_t window) : window_(window) {}

  hw::Vector vector() const { return virtio::vector_of(window_); }
  std::uint64_t features() const { return features_; }
  bool has(std::uint64_t feature) const { return (features_ & feature) != 0; }

  std::uint32_t read(hw::Vcpu& vcpu, std::uint32_t offset) const { return vcpu.io_read(port(offset)); }
  void write(hw::Vcpu& vcpu, std::uint32_t offset, std::uint32_t value) const { vcpu.io_write(port(offset), value); }
  std::uint32_t read_config(hw::Vcpu& vcpu, std::uint32_t offset) const {
    return read(vcpu, virtio::reg::kConfig + offset);
  }
  /// Two registers that belong together, read again if the device changed them meanwhile.
  std::uint64_t read_config64(hw::Vcpu& vcpu, std::uint32_t offset) const;
  void write_config(hw::Vcpu& vcpu, std::uint32_t offset, std::uint32_t value) const {
    write(vcpu, virtio::reg::kConfig + offset, value);
  }

  /// Resets the device and agrees on those of `wanted` that it offers. False: it refuses.
  bool negotiate(hw::Vcpu& vcpu, std::uint64_t wanted);
  /// The features the device offers.
  std::uint64_t offered(hw::Vcpu& vcpu) const;
  /// Takes memory for a queue from the kernel's allocator. Nothing: the device has no such queue, or no memory is left.
  std::optional<virtio::DriverQueue> set_up_queue(hw::Vcpu& vcpu, PageAllocator& pages, std::uint32_t index,
                                                  std::uint16_t most) const;
  void start(hw::Vcpu& vcpu) const;
  /// The device forgets everything that was set up.
  void reset(hw::Vcpu& vcpu) const { write(vcpu, virtio::reg::kStatus, 0); }
  void notify(hw::Vcpu& vcpu, std::uint32_t queue) const { write(vcpu, virtio::reg::kQueueNotify, queue); }
  /// In the interrupt: what it is about (virtio::kUsedBuffer, kConfigChange).
  std::uint32_t acknowledge(hw::Vcpu& vcpu) const;
  bool needs_reset(hw::Vcpu& vcpu) const {
    return (read(vcpu, virtio::reg::kStatus) & virtio::status::kNeedsReset) != 0;
  }

 private:
  std::uint32_t port(std::uint32_t offset) const { return window_ * virtio::kWindow + offset; }

  std::uint32_t window_;
  std::uint64_t features_ = 0;
};

}  // namespace vmem::guest
