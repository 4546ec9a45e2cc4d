// A device of a VM as its vCPUs meet it: registers that exit when touched.
#pragma once

#include <cstdint>

namespace vmem::hw {
class Vcpu;
}

namespace vmem::vmm {

/// A window of 32-bit registers. Offsets and values come from the guest: anything may be in them.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::uint32_t read(hw::Vcpu& vcpu, std::uint32_t offset) = 0;
  virtual void write(hw::Vcpu& vcpu, std::uint32_t offset, std::uint32_t value) = 0;
  /// An interrupt is about to be delivered to the vCPU: what the device has finished by now can be seen from now on.
  virtual void before_interrupt(hw::Vcpu&) {}
  /// As after power-on.
  virtual void reset() = 0;
};

}  // namespace vmem::vmm
