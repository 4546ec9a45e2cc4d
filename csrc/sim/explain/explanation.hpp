// One access told step by step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/access.hpp"
#include "core/counters.hpp"
#include "hw/fault.hpp"
#include "sim/explain/table_path.hpp"

namespace vmem::sim {

struct Step {
  enum class Kind : std::uint8_t {
    tlb,       ///< name: "l1d", "l1i", "l2" or "software"; hit
    walk,      ///< a walk begins
    cache,     ///< name: "psc", "host_psc", "nested_tlb"; hit, level, address
    read,      ///< number, table, level, address, entry
    software,  ///< the guest's kernel walks its table itself; number: entries read
    fault,     ///< fault: what the processor reports; name: its kind
    exit,      ///< name: the reason
    verdict,   ///< name: what the fault turned out to be
    decision,  ///< name: the outcome; waited
    handler,   ///< name: what the guest's kernel did
    change,    ///< table, level, address, before, entry
    assist,    ///< the processor sets a dirty bit through a clean TLB entry
    flush,     ///< number of whole-context invalidations
    result,    ///< name: "done", "signal" or "stopped"; address: the machine address
  };
  Kind kind = Kind::walk;
  std::string name;
  bool hit = false;
  int number = 0;
  Table table = Table::guest;
  int level = 0;
  std::uint64_t address = 0;
  std::uint64_t entry = 0;
  std::optional<std::uint64_t> before;  ///< nothing: the entry has come onto the way only now
  hw::Fault fault;
  std::uint64_t waited = 0;  ///< nanoseconds, for disk or swap
  std::uint64_t cycles = 0;  ///< by the cost model
};

struct Explanation {
  std::vector<Step> steps;
  Counters counters;         ///< what the access has counted; every reference and exit of it is a step
  std::uint64_t cycles = 0;  ///< of all steps
};

}  // namespace vmem::sim
