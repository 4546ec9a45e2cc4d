#include "guest/devices.hpp"

#include "guest/kernel.hpp"

namespace vmem::guest {

Devices::Devices(hw::Vcpu& boot, Kernel& kernel, InterruptTable& interrupts) {
  for (std::uint32_t window = 0; window < virtio::kMaxDevices; ++window) {
    const std::uint32_t id = VirtioDriver::device_in(boot, window);
    if (id == 0) break;
    if (id == virtio::kBlockDeviceId) probe_disk(boot, window, kernel.pages(), interrupts);
    if (id == virtio::kBalloonDeviceId && balloon_ == nullptr) probe_balloon(boot, window, kernel, interrupts);
  }
}

void Devices::probe_balloon(hw::Vcpu& boot, std::uint32_t window, Kernel& kernel, InterruptTable& interrupts) {
  balloon_ = BalloonDriver::probe(boot, window, kernel);
  if (balloon_ == nullptr) return;
  interrupts.install(balloon_->vector(), [this](hw::Vcpu& vcpu) { balloon_->on_interrupt(vcpu); });
}

}  // namespace vmem::guest
