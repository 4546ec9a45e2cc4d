// The registers of a virtio device (virtio 1.2, 4.2.2: virtio-mmio, version 2), its status and its feature bits.
#pragma once

#include <cstdint>

#include "hw/handlers.hpp"

namespace vmem::virtio {

/// Devices answer in windows of this size, one after the other from port 0.
inline constexpr std::uint32_t kWindow = 0x200;
inline constexpr std::uint32_t kMaxDevices = 16;

/// Where the interrupts of the device in a window arrive.
constexpr hw::Vector vector_of(std::uint32_t window) { return static_cast<hw::Vector>(0x30 + window); }

/// Offsets of 32-bit registers.
namespace reg {
inline constexpr std::uint32_t kMagic = 0x000, kVersion = 0x004, kDeviceId = 0x008, kVendorId = 0x00c,
                               kDeviceFeatures = 0x010, kDeviceFeaturesSelect = 0x014, kDriverFeatures = 0x020,
                               kDriverFeaturesSelect = 0x024, kQueueSelect = 0x030, kQueueSizeMax = 0x034,
                               kQueueSize = 0x038, kQueueReady = 0x044, kQueueNotify = 0x050, kInterruptStatus = 0x060,
                               kInterruptAck = 0x064, kStatus = 0x070, kDescriptorsLow = 0x080,
                               kDescriptorsHigh = 0x084, kDriverLow = 0x090, kDriverHigh = 0x094, kDeviceLow = 0x0a0,
                               kDeviceHigh = 0x0a4, kConfigGeneration = 0x0fc, kConfig = 0x100;
}  // namespace reg
inline constexpr std::uint32_t kMagicValue = 0x7472'6976;  ///< "virt"
inline constexpr std::uint32_t kVersionValue = 2;
inline constexpr std::uint32_t kVendorValue = 0x4d45'4d56;  ///< "VMEM"

/// Status bits (2.1).
namespace status {
inline constexpr std::uint32_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8, kNeedsReset = 64,
                               kFailed = 128;
}
/// Interrupt status bits (4.2.2).
inline constexpr std::uint32_t kUsedBuffer = 1, kConfigChange = 2;

/// Feature bits of every device (6).
inline constexpr std::uint64_t kIndirectDescriptors = 1ull << 28, kEventIndex = 1ull << 29, kVersion1 = 1ull << 32;

/// Device ids (5).
inline constexpr std::uint32_t kBlockDeviceId = 2, kBalloonDeviceId = 5;

}  // namespace vmem::virtio
