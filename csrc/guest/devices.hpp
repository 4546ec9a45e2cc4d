// The devices that a kernel found, and their drivers.
#pragma once

#include <memory>

#include "guest/balloon_driver.hpp"
#include "guest/block_driver.hpp"
#include "guest/interrupt_table.hpp"

namespace vmem::guest {

class Devices {
 public:
  /// Looks at every window of the bus, as a kernel does when it boots.
  Devices(hw::Vcpu& boot, Kernel& kernel, InterruptTable& interrupts) {
    for (std::uint32_t window = 0; window < virtio::kMaxDevices; ++window) {
      const std::uint32_t id = VirtioDriver::device_in(boot, window);
      if (id == 0) break;
      if (id == virtio::kBlockDeviceId && disk_ == nullptr) probe_disk(boot, window, interrupts);
      if (id == virtio::kBalloonDeviceId && balloon_ == nullptr) probe_balloon(boot, window, kernel, interrupts);
    }
  }
  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

  /// nullptr: there is none.
  BlockDriver* disk() { return disk_.get(); }
  BalloonDriver* balloon() { return balloon_.get(); }

 private:
  void probe_disk(hw::Vcpu& boot, std::uint32_t window, InterruptTable& interrupts) {
    disk_ = BlockDriver::probe(boot, window);
    if (disk_ == nullptr) return;
    interrupts.install(disk_->vector(), [this](hw::Vcpu& vcpu) { disk_->on_interrupt(vcpu); });
  }

  void probe_balloon(hw::Vcpu& boot, std::uint32_t window, Kernel& kernel, InterruptTable& interrupts) {
    balloon_ = BalloonDriver::probe(boot, window, kernel);
    if (balloon_ == nullptr) return;
    interrupts.install(balloon_->vector(), [this](hw::Vcpu& vcpu) { balloon_->on_interrupt(vcpu); });
  }

  std::unique_ptr<BlockDriver> disk_;
  std::unique_ptr<BalloonDriver> balloon_;
};

}  // namespace vmem::guest
