// Processes of a vmem_host's guests: their life and their mappings.
#include <cstddef>
#include <string>

#include "capi/host_object.hpp"
#include "capi/lookup.hpp"
#include "capi/protection.hpp"
#include "capi/structure.hpp"
#include "vmem/host.h"

namespace vmem::capi {
namespace {

std::uint32_t bits_of(const guest::Protection& allowed) {
  std::uint32_t bits = 0;
  if (allowed.read) bits |= VMEM_READ;
  if (allowed.write) bits |= VMEM_WRITE;
  if (allowed.execute) bits |= VMEM_EXECUTE;
  return bits;
}

guest::MapRequest map_request(const vmem_map_request& given) {
  if (given.length == 0 || given.length > 1ull << 56)
    throw Refusal(VMEM_E_ARGUMENT, "length is " + std::to_string(given.length) + "; accepted is 1 to 2**56");
  guest::MapRequest request;
  request.length = given.length;
  request.protection = protection(given.protection);
  if (given.fixed != 0) request.address = given.address;
  request.largest = page_size(given.page);
  if (given.name != nullptr) request.name = given.name;
  if (given.file != 0) request.file = guest::FileRange{given.file, given.offset, given.shared != 0};
  if (given.file == 0 && (given.shared != 0 || given.offset != 0))
    throw Refusal(VMEM_E_ARGUMENT, "shared and offset are of file mappings; file is 0");
  return request;
}

/// A system call: `use(kernel, vcpu, process)`, whose time passes.
template <class Use>
vmem_status call(vmem_host* host, std::uint32_t vm, std::uint32_t vcpu, std::uint32_t process, Use&& use) noexcept {
  return change(host, [&](sim::Machine& machine, HostObject&) {
    const Where where = locate(machine, vm, vcpu, process);
    use(*where.guest.kernel, where.vcpu, where.process);
    machine.time().charge(*where.guest.vm, where.vcpu);
    return VMEM_OK;
  });
}

}  // namespace
}  // namespace vmem::capi

using namespace vmem::capi;
using vmem::guest::Kernel;
using vmem::guest::Process;
using vmem::hw::Vcpu;

vmem_status vmem_process_spawn(vmem_host* host, uint32_t vm, const char* name, uint32_t* process) {
  return change(host, [&](vmem::sim::Machine& machine, HostObject&) {
    required(process, "process");
    vmem::sim::Guest& guest = guest_of(machine, vm);
    const int id = guest.kernel->spawn(guest.vm->vcpu(0), name == nullptr ? "process" : name).id;
    machine.time().charge(*guest.vm, guest.vm->vcpu(0));
    *process = static_cast<std::uint32_t>(id);
    return VMEM_OK;
  });
}

vmem_status vmem_process_fork(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint32_t* child) {
  return call(host, vm, vcpu, process, [&](Kernel& kernel, Vcpu& cpu, Process& parent) {
    required(child, "child");
    *child = static_cast<std::uint32_t>(kernel.fork(cpu, parent).id);
  });
}

vmem_status vmem_process_exit(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process) {
  return call(host, vm, vcpu, process, [](Kernel& kernel, Vcpu& cpu, Process& of) { kernel.exit(cpu, of); });
}

vmem_status vmem_process_mmap(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                              const vmem_map_request* request, uint64_t* start) {
  return call(host, vm, vcpu, process, [&](Kernel& kernel, Vcpu& cpu, Process& of) {
    required(start, "start");
    *start =
        kernel.mmap(cpu, of, map_request(taken<vmem_map_request, offsetof(vmem_map_request, file)>(request, "request")))
            .start;
  });
}

vmem_status vmem_process_munmap(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t start,
                                uint64_t length) {
  return call(host, vm, vcpu, process,
              [&](Kernel& kernel, Vcpu& cpu, Process& of) { kernel.munmap(cpu, of, start, length); });
}

vmem_status vmem_process_mprotect(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t start,
                                  uint64_t length, uint32_t bits) {
  return call(host, vm, vcpu, process, [&](Kernel& kernel, Vcpu& cpu, Process& of) {
    kernel.mprotect(cpu, of, start, length, protection(bits));
  });
}

vmem_status vmem_process_madvise(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t start,
                                 uint64_t length, uint32_t advice) {
  return call(host, vm, vcpu, process, [&](Kernel& kernel, Vcpu& cpu, Process& of) {
    switch (advice) {
      case VMEM_DONTNEED:
        kernel.discard(cpu, of, start, length);
        return;
      case VMEM_HUGEPAGE:
        kernel.advise_page_size(of, start, length, vmem::PageSize::k2M);
        return;
      case VMEM_NOHUGEPAGE:
        kernel.advise_page_size(of, start, length, vmem::PageSize::k4K);
        return;
      default:
        throw Refusal(VMEM_E_ARGUMENT, "advice is " + std::to_string(advice) +
                                           "; accepted is VMEM_DONTNEED, VMEM_HUGEPAGE or VMEM_NOHUGEPAGE");
    }
  });
}

vmem_status vmem_process_brk(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t end,
                             uint64_t* got) {
  return call(host, vm, vcpu, process,
              [&](Kernel& kernel, Vcpu& cpu, Process& of) { required(got, "got") = kernel.brk(cpu, of, end); });
}

vmem_status vmem_process_area(vmem_host* host, uint32_t vm, uint32_t process, uint64_t address, vmem_area* area) {
  return look(host, [&](vmem::sim::Machine& machine) {
    vmem_area& found = filled(area, "area");
    found = {found.size, 0, 0, 0};
    for (const auto& [start, vma] : process_of(guest_of(machine, vm), process).areas.areas()) {
      if (vma.end <= address) continue;
      found.protection = bits_of(vma.protection);
      found.start = vma.start;
      found.end = vma.end;
      return;
    }
  });
}
