// A host of which calls are made at random, and names of things on it that exist, mostly.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "random_calls.hpp"

namespace vmem::test {

struct Area {
  std::uint64_t start = 0, length = 0;
};

struct World {
  Source& source;
  vmem_host* host = nullptr;
  std::vector<std::uint32_t> vms{};
  std::vector<std::pair<std::uint32_t, std::uint32_t>> processes{};
  std::vector<Area> areas{};
  std::vector<std::uint64_t> programs{};
  std::uint64_t goal = 0;  ///< references of all programs
  Tally tally{};
  bool fails = false;
};

inline std::uint32_t some_vm(World& world) {
  if (world.vms.empty() || world.source.one_in(25)) return world.source.one_in(2) ? world.source.small(5) : ~0u;
  return world.vms[world.source.upto(world.vms.size() - 1)];
}

inline std::pair<std::uint32_t, std::uint32_t> some_process(World& world) {
  if (world.processes.empty() || world.source.one_in(25)) return {some_vm(world), world.source.small(9)};
  return world.processes[world.source.upto(world.processes.size() - 1)];
}

inline Area some_area(World& world) {
  if (world.areas.empty()) return {0x10000, 1 << 16};
  return world.areas[world.source.upto(world.areas.size() - 1)];
}

inline std::uint32_t some_vcpu(World& world) { return world.source.one_in(20) ? world.source.small(300) : 0; }

/// Programs over time, and what is said of them.
void start_something(World& world);
void run_programs(World& world);
/// Advice of processes, and single pages of VMs.
void use_pages(World& world);

}  // namespace vmem::test
