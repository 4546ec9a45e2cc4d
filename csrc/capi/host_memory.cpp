// What a vmem_host does with the memory behind its guests, page by page.
#include "capi/host_object.hpp"
#include "capi/lookup.hpp"
#include "vmem/host.h"
#include "vmm/host_swap.hpp"
#include "vmm/page_size.hpp"
#include "vmm/unmap.hpp"

namespace vmem::capi {
namespace {

/// `use(vm, gfn)` says whether it could.
template <class Use>
vmem_status with_page(vmem_host* host, std::uint32_t vm, std::uint64_t gpa, std::uint32_t* done, Use&& use) noexcept {
  return change(host, [&](sim::Machine& machine, HostObject&) {
    const bool could = use(*guest_of(machine, vm).vm, Gpa{gpa}.frame());
    if (done != nullptr) *done = could ? 1 : 0;
    return VMEM_OK;
  });
}

}  // namespace
}  // namespace vmem::capi

using namespace vmem::capi;
using vmem::Gfn;
using vmem::vmm::Vm;

vmem_status vmem_vm_swap_out(vmem_host* host, uint32_t vm, uint64_t gpa, uint32_t* done) {
  return with_page(host, vm, gpa, done, [](Vm& of, Gfn gfn) {
    vmem::vmm::Unmap unmap(of);
    return vmem::vmm::swap_out(of, gfn, unmap) == vmem::vmm::SwapOut::done;
  });
}

vmem_status vmem_vm_split(vmem_host* host, uint32_t vm, uint64_t gpa, uint32_t* done) {
  return with_page(host, vm, gpa, done, vmem::vmm::split);
}

vmem_status vmem_vm_collapse(vmem_host* host, uint32_t vm, uint64_t gpa, uint32_t* done) {
  return with_page(host, vm, gpa, done, vmem::vmm::collapse);
}
