// A VM with a kernel on it, and accesses of its processes that carry bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "guest/kernel.hpp"
#include "support/guest_machine.hpp"

namespace vmem::test {

struct BootedGuest : BareGuest {
  guest::Kernel kernel;

  explicit BootedGuest(const vmm::VmConfig& config)
      : BareGuest(config), kernel(all_vcpus(), config.memory, config.cpu.guest_levels) {}

  /// False: SIGSEGV, or the process was killed.
  bool write(guest::Process& process, std::uint64_t va, std::uint64_t value, std::size_t on = 0) {
    const auto at = access(process, va, AccessKind::store, on);
    if (at) hypervisor.memory().bytes().store(at->value, value);
    return at.has_value();
  }
  std::optional<std::uint64_t> read(guest::Process& process, std::uint64_t va, std::size_t on = 0) {
    const auto at = access(process, va, AccessKind::load, on);
    if (!at) return std::nullopt;
    return hypervisor.memory().bytes().load<std::uint64_t>(at->value);
  }
  std::optional<Hpa> access(guest::Process& process, std::uint64_t va, AccessKind kind, std::size_t on = 0) {
    kernel.switch_to(vm.vcpu(on), process);
    Hpa at;
    if (!vm.vcpu(on).access(Gva{va}, kind, at)) return std::nullopt;
    return at;
  }
  void check() {
    kernel.check();
    hypervisor.check();
  }

 private:
  std::vector<hw::Vcpu*> all_vcpus() {
    std::vector<hw::Vcpu*> vcpus;
    for (std::size_t i = 0; i < vm.vcpu_count(); ++i) vcpus.push_back(&vm.vcpu(i));
    return vcpus;
  }
};

}  // namespace vmem::test
