// Files of a vmem_host's guests.
#include <span>
#include <string>

#include "capi/host_object.hpp"
#include "capi/lookup.hpp"
#include "vmem/host.h"

namespace vmem::capi {
namespace {

/// A system call on files: `use(kernel, vcpu)`, whose time passes. False: EIO.
template <class Use>
vmem_status call(vmem_host* host, std::uint32_t vm, std::uint32_t vcpu, const char* name, Use&& use) noexcept {
  return change(host, [&](sim::Machine& machine, HostObject&) {
    sim::Guest& guest = guest_of(machine, vm);
    hw::Vcpu& cpu = sim::Machine::vcpu(guest, vcpu);
    const bool done = use(*guest.kernel, cpu);
    machine.time().charge(*guest.vm, cpu);
    if (!done)
      throw Refusal(VMEM_E_IO, std::string(name) + ": the disk of VM '" + guest.vm->config().name +
                                   "' failed, or its kernel had no page");
    return VMEM_OK;
  });
}

}  // namespace
}  // namespace vmem::capi

using namespace vmem::capi;
using vmem::guest::Kernel;
using vmem::hw::Vcpu;

vmem_status vmem_file_create(vmem_host* host, uint32_t vm, const char* name, uint64_t bytes, uint32_t* file) {
  return change(host, [&](vmem::sim::Machine& machine, HostObject&) {
    required(file, "file");
    *file = guest_of(machine, vm).kernel->create_file(&required(name, "name"), bytes).number;
    return VMEM_OK;
  });
}

vmem_status vmem_file_unlink(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t file) {
  return call(host, vm, vcpu, "unlink", [&](Kernel& kernel, Vcpu& cpu) {
    kernel.unlink(cpu, file);
    return true;
  });
}

vmem_status vmem_file_read(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t file, uint64_t offset, void* bytes,
                           uint64_t length) {
  return call(host, vm, vcpu, "read", [&](Kernel& kernel, Vcpu& cpu) {
    require_array(bytes, length, "bytes");
    return kernel.read_file(cpu, file, offset, std::span(static_cast<std::byte*>(bytes), length));
  });
}

vmem_status vmem_file_write(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t file, uint64_t offset,
                            const void* bytes, uint64_t length) {
  return call(host, vm, vcpu, "write", [&](Kernel& kernel, Vcpu& cpu) {
    require_array(bytes, length, "bytes");
    return kernel.write_file(cpu, file, offset, std::span(static_cast<const std::byte*>(bytes), length));
  });
}

vmem_status vmem_file_fsync(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t file) {
  return call(host, vm, vcpu, "fsync", [&](Kernel& kernel, Vcpu& cpu) { return kernel.fsync(cpu, file); });
}

vmem_status vmem_guest_drop_caches(vmem_host* host, uint32_t vm) {
  return call(host, vm, 0, "drop_caches", [](Kernel& kernel, Vcpu& cpu) {
    kernel.drop_caches(cpu);
    return true;
  });
}
