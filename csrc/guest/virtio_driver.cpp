#include "guest/virtio_driver.hpp"

#include <algorithm>
#include <bit>

namespace vmem::guest {

namespace reg = virtio::reg;
namespace status = virtio::status;

std::uint32_t VirtioDriver::device_in(hw::Vcpu& vcpu, std::uint32_t window) {
  const std::uint32_t base = window * virtio::kWindow;
  if (vcpu.io_read(base + reg::kMagic) != virtio::kMagicValue) return 0;
  if (vcpu.io_read(base + reg::kVersion) != virtio::kVersionValue) return 0;
  return vcpu.io_read(base + reg::kDeviceId);
}

std::uint64_t VirtioDriver::read_config64(hw::Vcpu& vcpu, std::uint32_t offset) const {
  for (;;) {
    const std::uint32_t before = read(vcpu, reg::kConfigGeneration);
    const std::uint64_t low = read_config(vcpu, offset);
    const std::uint64_t high = read_config(vcpu, offset + 4);
    if (read(vcpu, reg::kConfigGeneration) == before) return high << 32 | low;
  }
}

std::uint64_t VirtioDriver::offered(hw::Vcpu& vcpu) const {
  write(vcpu, reg::kDeviceFeaturesSelect, 1);
  const std::uint64_t high = read(vcpu, reg::kDeviceFeatures);
  write(vcpu, reg::kDeviceFeaturesSelect, 0);
  return high << 32 | read(vcpu, reg::kDeviceFeatures);
}

bool VirtioDriver::negotiate(hw::Vcpu& vcpu, std::uint64_t wanted) {
  write(vcpu, reg::kStatus, 0);
  write(vcpu, reg::kStatus, status::kAcknowledge);
  write(vcpu, reg::kStatus, status::kAcknowledge | status::kDriver);
  features_ = offered(vcpu) & (wanted | virtio::kVersion1 | virtio::kIndirectDescriptors | virtio::kEventIndex);
  write(vcpu, reg::kDriverFeaturesSelect, 0);
  write(vcpu, reg::kDriverFeatures, static_cast<std::uint32_t>(features_));
  write(vcpu, reg::kDriverFeaturesSelect, 1);
  write(vcpu, reg::kDriverFeatures, static_cast<std::uint32_t>(features_ >> 32));
  write(vcpu, reg::kStatus, status::kAcknowledge | status::kDriver | status::kFeaturesOk);
  if ((read(vcpu, reg::kStatus) & status::kFeaturesOk) != 0) return true;
  write(vcpu, reg::kStatus, read(vcpu, reg::kStatus) | status::kFailed);
  return false;
}

std::optional<virtio::DriverQueue> VirtioDriver::set_up_queue(hw::Vcpu& vcpu, PageAllocator& pages, std::uint32_t index,
                                                              std::uint16_t most) const {
  write(vcpu, reg::kQueueSelect, index);
  const std::uint32_t largest = read(vcpu, reg::kQueueSizeMax);
  if (largest == 0) return std::nullopt;
  const auto size = static_cast<std::uint16_t>(std::bit_floor(std::min<std::uint32_t>(largest, most)));
  const std::uint64_t bytes = virtio::Rings::bytes_for(size);
  const auto order = static_cast<int>(std::bit_width((bytes - 1) >> kPageShift));
  const auto frames = pages.allocate(vcpu, order, PageUse::kernel);
  if (!frames) return std::nullopt;
  const auto rings = virtio::Rings::in_one_piece(frames->address(), size);
  vcpu.zero(frames->address(), bytes);
  const auto write_address = [&](std::uint32_t low, Gpa at) {
    write(vcpu, low, static_cast<std::uint32_t>(at.value));
    write(vcpu, low + 4, static_cast<std::uint32_t>(at.value >> 32));
  };
  write(vcpu, reg::kQueueSize, size);
  write_address(reg::kDescriptorsLow, rings.descriptors);
  write_address(reg::kDriverLow, rings.available);
  write_address(reg::kDeviceLow, rings.used);
  write(vcpu, reg::kQueueReady, 1);
  return virtio::DriverQueue(rings, has(virtio::kEventIndex));
}

void VirtioDriver::start(hw::Vcpu& vcpu) const {
  write(vcpu, reg::kStatus, status::kAcknowledge | status::kDriver | status::kFeaturesOk | status::kDriverOk);
}

std::uint32_t VirtioDriver::acknowledge(hw::Vcpu& vcpu) const {
  const std::uint32_t reasons = read(vcpu, reg::kInterruptStatus);
  if (reasons != 0) write(vcpu, reg::kInterruptAck, reasons);
  return reasons;
}

}  // namespace vmem::guest
