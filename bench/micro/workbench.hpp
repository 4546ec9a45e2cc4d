// One VM with one process and one area of memory, ready to be accessed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/machine.hpp"

namespace vmem::bench {

class Workbench {
 public:
  Workbench(vmm::MmuMode mode, hw::CpuConfig cpu, std::uint64_t pages)
      : machine_(16ull << 30), guest_(machine_.guest(machine_.create_vm(config(mode, std::move(cpu))))) {
    process_ = &guest_.kernel->spawn(vcpu(), "bench");
    guest::MapRequest request;
    request.length = pages << kPageShift;
    start_ = guest_.kernel->mmap(vcpu(), *process_, request).start;
    guest_.kernel->switch_to(vcpu(), *process_);
  }

  sim::Machine& machine() { return machine_; }
  sim::Guest& guest() { return guest_; }
  guest::Process& process() { return *process_; }
  hw::Vcpu& vcpu() { return guest_.vm->vcpu(0); }
  Gva page(std::uint64_t number) const { return {start_ + (number << kPageShift)}; }
  /// One store to each of `count` pages.
  void touch(std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = first; i < first + count; ++i) {
      Hpa at;
      vcpu().access(page(i), AccessKind::store, at);
    }
  }

 private:
  static vmm::VmConfig config(vmm::MmuMode mode, hw::CpuConfig cpu) {
    vmm::VmConfig config;
    config.name = "bench";
    config.memory = 4ull << 30;
    config.mode = mode;
    config.cpu = std::move(cpu);
    return config;
  }

  sim::Machine machine_;
  sim::Guest& guest_;
  guest::Process* process_ = nullptr;
  std::uint64_t start_ = 0;
};

/// skylake-sp without anything that shortens a walk.
inline hw::CpuConfig bare_cpu() {
  hw::CpuConfig cpu = hw::cpu_preset("skylake-sp");
  cpu.psc = cpu.host_psc = {};
  cpu.nested_tlb.reset();
  return cpu;
}

}  // namespace vmem::bench
