// Tells the caller what is new in the logs of a host and its guests.
#pragma once

#include <cstdint>
#include <map>

#include "core/event_log.hpp"
#include "sim/machine.hpp"
#include "vmem/host.h"

namespace vmem::capi {

class EventTeller {
 public:
  /// Of what happens from now on. `on_event` nullptr: nobody is told.
  void set(sim::Machine& machine, vmem_host* host, vmem_event_fn on_event, void* user);
  /// False: the caller's function failed; it is told the rest another time.
  bool tell(sim::Machine& machine);
  /// Of a VM that goes away. Its number may come back.
  void forget(std::uint16_t vm) { guests_.erase(vm); }

 private:
  bool tell(const Event& event);

  vmem_host* host_ = nullptr;
  vmem_event_fn on_event_ = nullptr;
  void* user_ = nullptr;
  std::uint64_t hosts_ = 0;  ///< events of the host's log that have been told
  std::map<std::uint16_t, std::uint64_t> guests_;
};

}  // namespace vmem::capi
