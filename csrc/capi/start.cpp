// Gives processes of a vmem_host's guests their programs.
#include "capi/start.hpp"

#include <memory>
#include <utility>

#include "capi/host_object.hpp"
#include "capi/structure.hpp"
#include "sim/task.hpp"

namespace vmem::capi {
namespace {

/// `make(given, manner, where)` gives the factory.
template <class Given, class Make>
vmem_status start(vmem_host* host, std::uint32_t vm, std::uint32_t vcpu, std::uint32_t process, const Given* given,
                  const char* name, std::uint64_t* program, Make&& make) noexcept {
  return change(host, [&](sim::Machine& machine, HostObject&) {
    const Where where = locate(machine, vm, vcpu, process);
    const Given taken_over = taken(given, name);
    const Manner how = manner(taken_over);
    auto task = std::make_unique<sim::Task>(where.guest, vcpu, where.process, make(taken_over, how, where), how.times,
                                            how.limit);
    const std::uint64_t number = machine.scheduler().start(std::move(task));
    if (program != nullptr) *program = number;
    return VMEM_OK;
  });
}

}  // namespace
}  // namespace vmem::capi

using namespace vmem::capi;

vmem_status vmem_process_start(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                               const vmem_workload* given, uint64_t* program) {
  return start(host, vm, vcpu, process, given, "workload", program, workload);
}

vmem_status vmem_process_start_trace(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                     const vmem_trace* given, uint64_t* program) {
  return start(
      host, vm, vcpu, process, given, "trace", program,
      [&](const vmem_trace& taken_over, const Manner& how, const Where&) { return trace(taken_over, how, host); });
}
