// VMs and processes by their numbers, and times by what is to pass.
#pragma once

#include <cstdint>
#include <string>

#include "capi/refusal.hpp"
#include "sim/machine.hpp"

namespace vmem::capi {

inline sim::Guest& guest_of(sim::Machine& machine, std::uint32_t vm) {
  if (vm > 0xffff || !machine.guests().contains(static_cast<std::uint16_t>(vm)))
    throw Refusal(VMEM_E_HANDLE, "vm " + std::to_string(vm) + ": this host has no such VM, or no longer");
  return machine.guest(static_cast<std::uint16_t>(vm));
}

/// A process and the vCPU it is to run on.
struct Where {
  sim::Guest& guest;
  hw::Vcpu& vcpu;
  guest::Process& process;
};

inline guest::Process& process_of(sim::Guest& guest, std::uint32_t process) {
  for (const auto& candidate : guest.kernel->processes())
    if (static_cast<std::uint32_t>(candidate->id) == process) return *candidate;
  throw Refusal(VMEM_E_HANDLE, "process " + std::to_string(process) + ": VM '" + guest.vm->config().name +
                                   "' has no such process, or no longer");
}

inline Where locate(sim::Machine& machine, std::uint32_t vm, std::uint32_t vcpu, std::uint32_t process) {
  sim::Guest& guest = guest_of(machine, vm);
  return {guest, sim::Machine::vcpu(guest, vcpu), process_of(guest, process)};
}

/// The host's clock when so much more has passed.
inline Nanoseconds time_after(sim::Machine& machine, std::uint64_t nanoseconds) {
  const Nanoseconds now = machine.time().now();
  if (nanoseconds > hw::Interrupts::kNever - 1 - now)
    throw Refusal(VMEM_E_ARGUMENT, std::to_string(nanoseconds) + " ns: the clock shows " + std::to_string(now) +
                                       " ns and ends at 2**64 - 2");
  return now + nanoseconds;
}

}  // namespace vmem::capi
