// Guest-physical memory as a device of the host reaches it: through the hypervisor's own map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/address.hpp"
#include "hw/vcpu.hpp"
#include "virtio/memory.hpp"

namespace vmem::vmm {

class Vm;

/// Stores back what they touch, counted on the vCPU that the device works for; loads of what nothing backs see zeros
/// and leave it so. A store to a traced guest table goes through the shadow. No processor cache is looked at or
/// changed.
class GuestMemory {
 public:
  GuestMemory(Vm& vm, hw::Vcpu& on) : vm_(vm), on_(on) {}

  hw::Vcpu& vcpu() { return on_; }
  bool contains(Gpa at, std::uint64_t bytes) const;
  /// False, and nothing done: not in guest memory. OutOfMemory if the host has no frame for it.
  bool read(Gpa at, std::span<std::byte> out);
  bool write(Gpa at, std::span<const std::byte> bytes);
  /// As a write of zeros, but leaves alone what reads as zeros already.
  bool zero(Gpa at, std::uint64_t bytes);

 private:
  /// Where the page of `at` lies; nullptr: nothing backs it (loads only).
  std::byte* reach(Gpa at, bool store);
  void write_page(Gpa at, std::span<const std::byte> bytes);

  Vm& vm_;
  hw::Vcpu& on_;
};
static_assert(virtio::DeviceMemory<GuestMemory>);

}  // namespace vmem::vmm
