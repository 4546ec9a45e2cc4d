// VMs of a vmem_host: their life, counters and balloons.
#include <cstddef>
#include <string>

#include "capi/counters.hpp"
#include "capi/cpu.hpp"
#include "capi/host_object.hpp"
#include "capi/lookup.hpp"
#include "capi/structure.hpp"
#include "guest/meminfo.hpp"
#include "guest/vmstat.hpp"
#include "vmem/host.h"
#include "vmm/balloon/balloon_device.hpp"

namespace vmem::capi {
namespace {

[[noreturn]] void unknown(const char* what, std::uint32_t value) {
  throw Refusal(VMEM_E_ARGUMENT, std::string(what) + " is " + std::to_string(value) + ", which names none");
}

vmm::MmuMode mode(std::uint32_t number) {
  switch (number) {
    case VMEM_MODE_NESTED:
      return vmm::MmuMode::nested;
    case VMEM_MODE_NATIVE:
      return vmm::MmuMode::native;
    case VMEM_MODE_SHADOW:
      return vmm::MmuMode::shadow;
    case VMEM_MODE_SOFTWARE_TLB:
      return vmm::MmuMode::software_tlb;
    default:
      unknown("mode", number);
  }
}

vmm::ShadowSync sync(std::uint32_t number) {
  switch (number) {
    case VMEM_SYNC_TRACE:
      return vmm::ShadowSync::trace;
    case VMEM_SYNC_UNSYNC:
      return vmm::ShadowSync::unsync;
    case VMEM_SYNC_VTLB:
      return vmm::ShadowSync::vtlb;
    default:
      unknown("shadow_sync", number);
  }
}

vmm::BalloonConfig balloon(std::uint32_t bits) {
  constexpr std::uint32_t kAll = VMEM_BALLOON | VMEM_BALLOON_MUST_TELL_HOST | VMEM_BALLOON_DEFLATE_ON_OOM |
                                 VMEM_BALLOON_PAGE_POISON | VMEM_BALLOON_FREE_PAGE_REPORTING;
  if ((bits & ~kAll) != 0 || (bits != 0 && (bits & VMEM_BALLOON) == 0)) unknown("balloon", bits);
  const auto has = [&](std::uint32_t bit) { return (bits & bit) != 0; };
  return {has(VMEM_BALLOON), has(VMEM_BALLOON_MUST_TELL_HOST), has(VMEM_BALLOON_DEFLATE_ON_OOM),
          has(VMEM_BALLOON_PAGE_POISON), has(VMEM_BALLOON_FREE_PAGE_REPORTING)};
}

std::uint32_t balloon_of_way(std::uint32_t reclaim) {
  if (reclaim > VMEM_RECLAIM_HYPERCALL_BATCHED) unknown("reclaim", reclaim);
  if (reclaim == VMEM_RECLAIM_REPORTING) return VMEM_BALLOON | VMEM_BALLOON_FREE_PAGE_REPORTING;
  return reclaim == VMEM_RECLAIM_BALLOON ? VMEM_BALLOON : 0;
}

vmm::VmConfig vm_config(const vmem_vm_config& given, const hw::CpuConfig& hosts) {
  constexpr std::uint32_t kMostSecondLevel = 1u << 24, kMostVcpus = vmm::kMaxVcpus;
  if (given.backing > VMEM_PAGE_1G) unknown("backing", given.backing);
  if (given.vcpus > kMostVcpus) unknown("vcpus", given.vcpus);
  if (given.software_tlb > kMostSecondLevel) unknown("software_tlb", given.software_tlb);
  if (given.shadow_pages > 1ull << 32) unknown("shadow_pages", ~0u);
  if (given.reserved != 0) unknown("reserved", given.reserved);
  if (given.reserved_too != 0) unknown("reserved_too", given.reserved_too);
  vmm::VmConfig config;
  config.name = given.name == nullptr ? "vm" : given.name;
  config.memory = given.memory;
  config.vcpus = given.vcpus == 0 ? 1 : static_cast<int>(given.vcpus);
  config.mode = mode(given.mode);
  config.backing = {static_cast<PageSize>(given.backing)};
  config.shadow = {sync(given.shadow_sync), given.shadow_pages, given.direct_faults != 0};
  config.reservation = given.reservation;
  config.limit = given.limit;
  if (given.shares != 0) config.shares = given.shares;
  config.cpu = given.cpu == nullptr && given.processor == nullptr ? hosts : processor(given.processor, given.cpu);
  config.software_tlb = given.software_tlb;
  config.disk.bytes = given.disk;
  config.swap = given.swap;
  config.balloon = balloon(given.balloon | balloon_of_way(given.reclaim));
  config.can_be_swapped = given.reclaim != VMEM_RECLAIM_NONE;
  constexpr Nanoseconds kBetweenScans = 10'000'000'000;
  if (given.reclaim == VMEM_RECLAIM_SCAN) config.scan.period = given.scan_ns != 0 ? given.scan_ns : kBetweenScans;
  config.scan.pauses = given.scan_races == 0;
  return config;
}

guest::BootParameters boot_parameters(const vmem_vm_config& given) {
  guest::BootParameters parameters;
  if (given.on_free > VMEM_ON_FREE_POISON) unknown("on_free", given.on_free);
  parameters.on_free = static_cast<guest::OnFree>(given.on_free);
  if (given.reclaim == VMEM_RECLAIM_HYPERCALL) parameters.free_calls = guest::FreeCalls::each;
  if (given.reclaim == VMEM_RECLAIM_HYPERCALL_BATCHED) parameters.free_calls = guest::FreeCalls::batched;
  return parameters;
}

/// Counters, and what the cost model makes of them.
template <class Use>
void each(const sim::CostModel& costs, const Counters& counters, const char* name, Use&& use) {
  if (const auto found = find(counters, name)) use(name, *found);
  use("walk_cycles", costs.walk_cycles(counters));
  use("cycles", costs.cycles(counters));
}

vmm::balloon::BalloonDevice& balloon_of(sim::Machine& machine, std::uint32_t vm) {
  vmm::Vm& owner = *guest_of(machine, vm).vm;
  if (owner.balloon() == nullptr)
    throw Refusal(VMEM_E_ARGUMENT, "VM '" + owner.config().name + "' was made without a balloon");
  return *owner.balloon();
}

}  // namespace
}  // namespace vmem::capi

using namespace vmem::capi;

vmem_status vmem_vm_create(vmem_host* host, const vmem_vm_config* config, uint32_t* vm) {
  return change(host, [&](auto& machine, HostObject& object) {
    required(vm, "vm");
    const auto given = taken<vmem_vm_config, offsetof(vmem_vm_config, reclaim)>(config, "config");
    *vm = machine.create_vm(vm_config(given, object.cpu()), boot_parameters(given));
    return VMEM_OK;
  });
}

vmem_status vmem_vm_destroy(vmem_host* host, uint32_t vm) {
  return change(host, [&](auto& machine, HostObject& object) {
    const std::uint16_t id = guest_of(machine, vm).vm->id();
    const bool told = object.tell_events();
    machine.destroy_vm(id);
    object.events().forget(id);
    return told ? VMEM_OK : remember(VMEM_E_CALLBACK, "a callback of this host failed; the VM is gone");
  });
}

vmem_status vmem_vm_counter(vmem_host* host, uint32_t vm, const char* name, uint64_t* value) {
  return look(host, [&](auto& machine) {
    const vmem::vmm::Vm& of = *guest_of(machine, vm).vm;
    required(value, "value") = named(name, [&](auto&& use) {
      each(machine.costs(), of.counters(), name, use);
      use("resident", of.resident_frames() << vmem::kPageShift);
      use("swapped", of.swapped_frames() << vmem::kPageShift);
    });
  });
}

vmem_status vmem_vcpu_counter(vmem_host* host, uint32_t vm, uint32_t vcpu, const char* name, uint64_t* value) {
  return look(host, [&](auto& machine) {
    const vmem::hw::Vcpu& of = vmem::sim::Machine::vcpu(guest_of(machine, vm), vcpu);
    required(value, "value") = named(name, [&](auto&& use) { each(machine.costs(), of.mmu().counters(), name, use); });
  });
}

vmem_status vmem_guest_meminfo(vmem_host* host, uint32_t vm, const char* name, uint64_t* value) {
  return look(host, [&](auto& machine) {
    required(value, "value") = named(name, [&](auto&& use) {
      each_field(guest_of(machine, vm).kernel->meminfo(),
                 [&](const char* field, std::uint64_t frames) { use(field, frames << vmem::kPageShift); });
    });
  });
}

vmem_status vmem_guest_vmstat(vmem_host* host, uint32_t vm, const char* name, uint64_t* value) {
  return look(host, [&](auto& machine) {
    required(value, "value") = named(name, [&](auto&& use) {
      vmem::guest::Kernel& kernel = *guest_of(machine, vm).kernel;
      each_counter(kernel.vmstat(), use);
      const vmem::guest::BalloonDriver* const driver = kernel.devices().balloon();
      use("balloon_inflate", driver != nullptr ? driver->stat().inflated : 0);
      use("balloon_deflate", driver != nullptr ? driver->stat().deflated : 0);
    });
  });
}

vmem_status vmem_vcpu_flush_tlb(vmem_host* host, uint32_t vm, uint32_t vcpu) {
  return change(host, [&](auto& machine, HostObject&) {
    vmem::sim::Machine::vcpu(guest_of(machine, vm), vcpu).flush_tlb();
    return VMEM_OK;
  });
}

vmem_status vmem_balloon_set_target(vmem_host* host, uint32_t vm, uint64_t bytes) {
  return guard([&] {
    HostObject& object = object_of(host, "host");
    const HostObject::Entry entered(object, Asks::steer);
    balloon_of(object.machine(), vm).set_target(bytes);
    return entered.outermost() ? object.end(VMEM_OK) : VMEM_OK;
  });
}

vmem_status vmem_balloon_target(vmem_host* host, uint32_t vm, uint64_t* bytes) {
  return look(host, [&](auto& machine) { required(bytes, "bytes") = balloon_of(machine, vm).target(); });
}

vmem_status vmem_balloon_actual(vmem_host* host, uint32_t vm, uint64_t* bytes) {
  return look(host, [&](auto& machine) { required(bytes, "bytes") = balloon_of(machine, vm).actual(); });
}
