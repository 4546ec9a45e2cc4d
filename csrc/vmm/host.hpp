// What the virtual machines of one host share.
#pragma once

#include <cstdint>

#include "core/clock.hpp"
#include "core/event_log.hpp"
#include "memory/machine_memory.hpp"

namespace vmem::vmm {

struct Host {
  explicit Host(std::uint64_t memory_bytes) : memory(memory_bytes), events(clock) {}

  memory::MachineMemory memory;
  Clock clock;
  EventLog events;
};

}  // namespace vmem::vmm
