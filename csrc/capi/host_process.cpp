// Programs of a vmem_host itself, and what it does with all of its memory.
#include <string>

#include "capi/host_object.hpp"
#include "vmem/host.h"
#include "vmm/sharing.hpp"

namespace vmem::capi {
namespace {

vmm::HostProcess& host_process(sim::Machine& machine, std::uint32_t process) {
  for (const auto& candidate : machine.hypervisor().processes())
    if (candidate->id() == process) return *candidate;
  throw Refusal(VMEM_E_HANDLE, "process " + std::to_string(process) + " of the host: there is none, or no longer");
}

}  // namespace
}  // namespace vmem::capi

using namespace vmem::capi;

vmem_status vmem_host_process_create(vmem_host* host, const char* name, uint64_t bytes, uint32_t* process) {
  return change(host, [&](vmem::sim::Machine& machine, HostObject&) {
    required(process, "process");
    *process = machine.hypervisor().create_process(name == nullptr ? "process" : name, bytes).id();
    return VMEM_OK;
  });
}

vmem_status vmem_host_process_resize(vmem_host* host, uint32_t process, uint64_t bytes) {
  return change(host, [&](vmem::sim::Machine& machine, HostObject&) {
    host_process(machine, process).resize(bytes);
    return VMEM_OK;
  });
}

vmem_status vmem_host_process_exit(vmem_host* host, uint32_t process) {
  return change(host, [&](vmem::sim::Machine& machine, HostObject&) {
    machine.hypervisor().destroy_process(host_process(machine, process));
    return VMEM_OK;
  });
}

vmem_status vmem_host_share(vmem_host* host, uint64_t* frames) {
  return change(host, [&](vmem::sim::Machine& machine, HostObject&) {
    const std::uint64_t merged = vmem::vmm::share(machine.hypervisor().vms());
    if (frames != nullptr) *frames = merged;
    return VMEM_OK;
  });
}
