// A virtual machine for tests of what runs inside it.
#pragma once

#include <cstdint>

#include "vmm/hypervisor.hpp"

namespace vmem::test {

inline vmm::VmConfig vm_config(vmm::MmuMode mode, std::uint64_t bytes, const char* cpu = "skylake-sp") {
  vmm::VmConfig config;
  config.name = "guest";
  config.memory = bytes;
  config.mode = mode;
  config.cpu = hw::cpu_preset(cpu);
  return config;
}

/// One VM on a host of its own, without a kernel.
struct BareGuest {
  vmm::Hypervisor hypervisor;
  vmm::Vm& vm;
  hw::Vcpu& vcpu;

  explicit BareGuest(const vmm::VmConfig& config)
      : hypervisor(4 * config.memory), vm(hypervisor.create_vm(config)), vcpu(vm.vcpu(0)) {}
};

}  // namespace vmem::test
