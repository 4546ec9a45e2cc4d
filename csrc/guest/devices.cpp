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
  balloon_window_ = window;
  interrupts.install(balloon_->vector(), [this](hw::Vcpu& vcpu) {
    if (balloon_ != nullptr) balloon_->on_interrupt(vcpu);
  });
}

bool Devices::unload_balloon(hw::Vcpu& vcpu) {
  if (balloon_ == nullptr) return false;
  balloon_->remove(vcpu);
  removed_.push_back(std::move(balloon_));
  return true;
}

bool Devices::load_balloon(hw::Vcpu& vcpu, Kernel& kernel) {
  if (balloon_ != nullptr || !balloon_window_) return false;
  balloon_ = BalloonDriver::probe(vcpu, *balloon_window_, kernel);
  return balloon_ != nullptr;
}

}  // namespace vmem::guest
