#include "vmm/admission.hpp"

#include <string>

#include "core/error.hpp"
#include "vmm/host.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

/// A native machine has all of its memory from the beginning.
std::uint64_t reserved(const VmConfig& config) {
  return config.mode == MmuMode::native ? config.memory : config.reservation;
}

}  // namespace

void admit(const Host& host, const std::vector<std::unique_ptr<Vm>>& vms, const VmConfig& config,
           const AdmissionConfig& admission) {
  if (admission.policy == AdmissionPolicy::none) return;
  std::uint64_t in_memory = reserved(config) + admission.overhead;
  std::uint64_t in_swap = config.memory - reserved(config);
  for (const auto& vm : vms) {
    in_memory += reserved(vm->config()) + admission.overhead;
    in_swap += vm->config().memory - reserved(vm->config());
  }
  const std::uint64_t memory = host.memory.bytes().size() - (host.memory.used(memory::FrameUse::process) << kPageShift);
  const std::uint64_t swap = host.swap.slots() << kPageShift;
  if (in_memory > memory)
    throw OutOfMemory("VM '" + config.name + "' is not admitted: reservations and overheads would be " +
                      std::to_string(in_memory) + " bytes, the host has " + std::to_string(memory) + " for VMs");
  if (in_swap > swap)
    throw OutOfMemory("VM '" + config.name + "' is not admitted: memory beyond reservations would be " +
                      std::to_string(in_swap) + " bytes, the host's swap has " + std::to_string(swap));
}

}  // namespace vmem::vmm
