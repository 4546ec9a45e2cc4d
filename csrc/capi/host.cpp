// vmem_host: its life, its time, its memory.
#include "vmem/host.h"

#include <cstddef>
#include <memory>
#include <string>

#include "capi/counters.hpp"
#include "capi/cpu.hpp"
#include "capi/host_object.hpp"
#include "capi/lookup.hpp"
#include "capi/structure.hpp"

namespace vmem::capi {
namespace {

Slots<vmem_host>& hosts() {
  static auto& slots = *new Slots<vmem_host>;  // outlives what runs at exit
  return slots;
}

vmm::HostConfig host_config(const vmem_host_config& given) {
  vmm::HostConfig config;
  config.swap.bytes = given.swap;
  if (given.swap_dir != nullptr) config.swap.directory = given.swap_dir;
  if (given.swap_read_ns != 0) config.swap.read_time = given.swap_read_ns;
  if (given.seed != 0) config.reclaim.seed = given.seed;
  if (given.esx_admission != 0) config.admission.policy = vmm::AdmissionPolicy::esx;
  return config;
}

/// How programs share the physical CPUs.
void configure(sim::Scheduler& scheduler, const vmem_host_config& given) {
  constexpr std::uint32_t kMostCpus = 1'000'000;
  if (given.cpus > kMostCpus)
    throw Refusal(VMEM_E_ARGUMENT,
                  "cpus is " + std::to_string(given.cpus) + "; accepted is up to " + std::to_string(kMostCpus));
  constexpr Nanoseconds kLeast = 1000, kMost = 1'000'000'000;
  if (given.quantum_ns != 0 && (given.quantum_ns < kLeast || given.quantum_ns > kMost))
    throw Refusal(VMEM_E_ARGUMENT, "quantum_ns is " + std::to_string(given.quantum_ns) + "; accepted is " +
                                       std::to_string(kLeast) + " to " + std::to_string(kMost) + ", or 0");
  if (given.reserved != 0)
    throw Refusal(VMEM_E_ARGUMENT, "reserved is " + std::to_string(given.reserved) + "; accepted is 0");
  scheduler.set_cpus(given.cpus);
  if (given.quantum_ns != 0) scheduler.set_quantum(given.quantum_ns);
}

}  // namespace

vmem_status HostObject::end(vmem_status status) {
  const std::string refusal = status < 0 ? vmem_last_error() : "";  // a callback may be refused something, too
  const bool succeeded = tell_events();
  policy_.forgive();
  if (status < 0) return remember(status, refusal.c_str());
  if (!succeeded) return remember(VMEM_E_CALLBACK, "a callback of this host failed; what the call had done stands");
  return status;
}

}  // namespace vmem::capi

using namespace vmem::capi;

vmem_status vmem_host_create(const vmem_host_config* config, vmem_host** host) {
  return guard([&] {
    required(host, "host") = nullptr;
    const auto given = taken<vmem_host_config, offsetof(vmem_host_config, processor)>(config, "config");
    auto object = std::make_unique<HostObject>(given.memory, host_config(given), processor(given.processor, given.cpu));
    configure(object->machine().scheduler(), given);
    if (given.khz != 0) object->machine().time().set_frequency({given.khz});
    *host = hosts().put(std::move(object));
    return VMEM_OK;
  });
}

vmem_status vmem_host_destroy(vmem_host* host) {
  return guard([&] {
    if (host == nullptr) return VMEM_OK;
    if (!object_of(host, "host").idle())
      throw Refusal(VMEM_E_BUSY, "this host is in the middle of a call and cannot be destroyed");
    hosts().retire(host);
    return VMEM_OK;
  });
}

vmem_status vmem_host_now(vmem_host* host, uint64_t* nanoseconds) {
  return look(host, [&](auto& machine) { required(nanoseconds, "nanoseconds") = machine.time().now(); });
}

vmem_status vmem_host_advance(vmem_host* host, uint64_t nanoseconds) {
  return change(host, [&](auto& machine, HostObject& object) {
    bool succeeded = true;
    machine.time().advance_to(time_after(machine, nanoseconds),
                              [&](std::uint64_t) { return succeeded = object.tell_events(); });
    return succeeded ? VMEM_OK : remember(VMEM_E_CALLBACK, "a callback of this host failed; time stands where it did");
  });
}

vmem_status vmem_host_counter(vmem_host* host, const char* name, uint64_t* value) {
  return look(host, [&](auto& machine) {
    required(value, "value") = named(name, [&](auto&& use) {
      const vmem::vmm::Host& of = machine.hypervisor().host();
      each_field(machine.hypervisor().meminfo(), use);
      each_counter(of.stat, use);
      use("swap_write_errors", of.swap.write_errors());
    });
  });
}

vmem_status vmem_host_check(vmem_host* host) {
  return change(host, [](auto& machine, HostObject&) {
    machine.check();
    return VMEM_OK;
  });
}

vmem_status vmem_host_on_event(vmem_host* host, vmem_event_fn on_event, void* user) {
  return change(host, [&](auto& machine, HostObject& object) {
    object.events().set(machine, host, on_event, user);
    return VMEM_OK;
  });
}

vmem_status vmem_host_set_policy(vmem_host* host, uint64_t interval, vmem_policy_fn policy, void* user) {
  return change(host, [&](auto& machine, HostObject& object) {
    if (policy != nullptr && interval == 0)
      throw Refusal(VMEM_E_ARGUMENT, "the interval of a policy is 0 ns; accepted is 1 or more");
    object.policy().set(host, interval, policy, user, machine.time().now());
    return VMEM_OK;
  });
}
