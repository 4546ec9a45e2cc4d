// Which device answers at which port of a VM.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/device.hpp"

namespace vmem::vmm {

/// Each device has a window of kWindow bytes; nothing answers elsewhere: reads give ones, writes go nowhere.
class DeviceBus {
 public:
  static constexpr std::uint32_t kWindow = 0x200;  ///< that of virtio-mmio: registers and configuration space

  /// Returns the base port of the device's window.
  std::uint32_t attach(std::unique_ptr<Device> device) {
    devices_.push_back(std::move(device));
    return static_cast<std::uint32_t>(devices_.size() - 1) * kWindow;
  }
  std::uint32_t read(hw::Vcpu& vcpu, std::uint32_t port) {
    Device* device = at(port);
    return device != nullptr ? device->read(vcpu, port % kWindow) : ~std::uint32_t{0};
  }
  void write(hw::Vcpu& vcpu, std::uint32_t port, std::uint32_t value) {
    if (Device* device = at(port)) device->write(vcpu, port % kWindow, value);
  }
  void before_interrupt(hw::Vcpu& vcpu) {
    for (const auto& device : devices_) device->before_interrupt(vcpu);
  }
  /// The window that the next device will get.
  std::uint32_t next_window() const { return static_cast<std::uint32_t>(devices_.size()); }
  void reset() {
    for (const auto& device : devices_) device->reset();
  }

 private:
  Device* at(std::uint32_t port) const {
    const std::size_t index = port / kWindow;
    return index < devices_.size() ? devices_[index].get() : nullptr;
  }
  std::vector<std::unique_ptr<Device>> devices_;
};

}  // namespace vmem::vmm
