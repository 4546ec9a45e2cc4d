// Behind a vmem_host.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "capi/event_teller.hpp"
#include "capi/policy.hpp"
#include "capi/slots.hpp"
#include "sim/machine.hpp"
#include "vmem/host.h"

namespace vmem::capi {

/// What a call does to a host. In this order it is refused to more of the host's own callbacks.
enum class Asks : std::uint8_t { look, steer, change };

class HostObject {
 public:
  HostObject(std::uint64_t memory, const vmm::HostConfig& config, hw::CpuConfig cpu)
      : machine_(memory, config), cpu_(std::move(cpu)), policy_(machine_.hypervisor()) {}

  sim::Machine& machine() { return machine_; }
  const hw::CpuConfig& cpu() const { return cpu_; }
  EventTeller& events() { return events_; }
  Policy& policy() { return policy_; }

  /// One thread at a time, and its callbacks only as far as they may.
  class Entry {
   public:
    Entry(HostObject& host, Asks asks) : host_(host), outermost_(host.thread_.load() != std::this_thread::get_id()) {
      if (!outermost_ && asks > host.allowed())
        throw Refusal(VMEM_E_BUSY,
                      "this host is in the middle of a call; until it returns, callbacks may look, and "
                      "policies set balloon targets");
      std::thread::id nobody{};
      if (outermost_ && !host.thread_.compare_exchange_strong(nobody, std::this_thread::get_id()))
        throw Refusal(VMEM_E_BUSY, "this host is in use by another thread; use one host per thread");
    }
    ~Entry() {
      if (outermost_) host_.thread_.store(std::thread::id{});
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    /// Not of a callback.
    bool outermost() const { return outermost_; }

   private:
    HostObject& host_;
    bool outermost_;
  };

  bool idle() const { return thread_.load() == std::thread::id{}; }
  /// Tells what happened since. False: a callback has failed, now or before.
  bool tell_events() { return events_.tell(machine_) && !policy_.failed(); }
  /// The status of a call in which callbacks may have failed.
  vmem_status end(vmem_status status);

 private:
  Asks allowed() const { return policy_.is_running() ? Asks::steer : Asks::look; }

  sim::Machine machine_;
  hw::CpuConfig cpu_;
  EventTeller events_;
  Policy policy_;
  std::atomic<std::thread::id> thread_;
};

}  // namespace vmem::capi

template <>
struct vmem::capi::SlotOf<vmem_host> {
  using type = Slot<HostObject, 0x74736f685f6d656d>;
};

namespace vmem::capi {

/// Calls `use(machine, host object)`, which returns a status; callbacks are told of what happened even if it is a
/// refusal.
template <class Use>
vmem_status change(vmem_host* handle, Use&& use) noexcept {
  return guard([&] {
    HostObject& host = object_of(handle, "host");
    const HostObject::Entry entered(host, Asks::change);
    return host.end(guard([&] { return use(host.machine(), host); }));
  });
}

/// For what changes nothing, which callbacks may ask, too. `use(machine)` returns nothing.
template <class Use>
vmem_status look(vmem_host* handle, Use&& use) noexcept {
  return guard([&] {
    HostObject& host = object_of(handle, "host");
    const HostObject::Entry entered(host, Asks::look);
    use(host.machine());
    return VMEM_OK;
  });
}

}  // namespace vmem::capi
