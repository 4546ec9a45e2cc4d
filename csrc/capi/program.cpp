// Lets the programs of a vmem_host run, and tells what became of them.
#include "vmem/program.h"

#include <string>

#include "capi/host_object.hpp"
#include "capi/lookup.hpp"
#include "capi/structure.hpp"
#include "sim/task.hpp"

namespace vmem::capi {
namespace {

const sim::Task& task_of(sim::Machine& machine, std::uint64_t program) {
  const auto& tasks = machine.scheduler().tasks();
  const auto found = tasks.find(program);
  if (found == tasks.end())
    throw Refusal(VMEM_E_HANDLE,
                  "program " + std::to_string(program) + ": this host has none, or its VM has been destroyed");
  return *found->second;
}

std::uint32_t number_of(sim::Scheduler::End end) {
  switch (end) {
    case sim::Scheduler::End::tasks:
      return VMEM_END_PROGRAMS;
    case sim::Scheduler::End::references:
      return VMEM_END_REFERENCES;
    case sim::Scheduler::End::time:
    case sim::Scheduler::End::interrupted:
      break;
  }
  return VMEM_END_TIME;
}

void tell(const sim::Task& task, vmem_program_state& state) {
  const sim::Bursts bursts = task.bursts();
  state = {state.size,
           task.ended() ? 1u : 0u,
           task.stopped().empty() ? nullptr : task.stopped().c_str(),
           task.runs(),
           task.references(),
           task.segfaults(),
           task.first_segfault().value,
           task.progressed_at(),
           bursts.count,
           bursts.bytes,
           bursts.time,
           bursts.longest,
           bursts.cut_short};
}

}  // namespace
}  // namespace vmem::capi

using namespace vmem::capi;
using vmem::sim::Machine;

vmem_status vmem_host_run(vmem_host* host, uint64_t nanoseconds, uint64_t references, uint32_t* ended) {
  return change(host, [&](Machine& machine, HostObject& object) {
    const std::uint64_t until = time_after(machine, nanoseconds);
    const auto end = machine.scheduler().run_until(until, references == 0 ? ~std::uint64_t{0} : references,
                                                   [&](std::uint64_t) { return object.tell_events(); });
    if (end == vmem::sim::Scheduler::End::interrupted)
      throw Refusal(VMEM_E_CALLBACK, "a callback of this host failed; time stands where it did");
    if (ended != nullptr) *ended = number_of(end);
    return VMEM_OK;
  });
}

vmem_status vmem_program_get_state(vmem_host* host, uint64_t program, vmem_program_state* state) {
  return look(host, [&](Machine& machine) { tell(task_of(machine, program), filled(state, "state")); });
}

vmem_status vmem_program_costs(vmem_host* host, uint64_t program, uint64_t* picoseconds, uint64_t* references,
                               uint64_t room, uint64_t* count) {
  return look(host, [&](Machine& machine) {
    require_array(picoseconds, room, "picoseconds");
    require_array(references, room, "references");
    std::uint64_t found = 0;
    task_of(machine, program).costs().for_each([&](std::uint64_t highest, std::uint64_t times) {
      if (found < room) {
        picoseconds[found] = highest;
        references[found] = times;
      }
      ++found;
    });
    required(count, "count") = found;
  });
}

vmem_status vmem_vm_get_time(vmem_host* host, uint32_t vm, vmem_vm_time* time) {
  return look(host, [&](Machine& machine) {
    vmem_vm_time& out = filled(time, "time");
    const vmem::vmm::Vm& of = *guest_of(machine, vm).vm;
    vmem::sim::VcpuTimes times;
    bool paused = false;
    for (const vmem::sim::VcpuClock& clock : machine.time().vcpus(of)) {
      times += clock.times;
      paused = clock.is_paused;
    }
    std::uint64_t references = 0;
    for (const auto& [number, task] : machine.scheduler().tasks())
      if (task->vm() == of.id()) references += task->references();
    out = {out.size, paused ? 1u : 0u, references, times.running, times.waiting, times.runnable};
  });
}

vmem_status vmem_vm_set_paused(vmem_host* host, uint32_t vm, uint32_t paused) {
  return change(host, [&](Machine& machine, HostObject&) {
    machine.time().set_paused(*guest_of(machine, vm).vm, paused != 0);
    return VMEM_OK;
  });
}
