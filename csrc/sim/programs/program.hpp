// What a process runs when time passes: references and system calls, some at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/clock.hpp"
#include "guest/kernel.hpp"
#include "hw/vcpu.hpp"
#include "sim/trace_run.hpp"

namespace vmem::sim {

/// Where a program runs: what it makes its system calls with. It may exchange `process` for another of the kernel's.
struct Session {
  guest::Kernel& kernel;
  hw::Vcpu& vcpu;
  guest::Process*& process;
};

/// What a program does next. References are either single ones or runs; what the spans show stays until the next turn.
struct Turn {
  enum class Kind : std::uint8_t { references, runs, idle, end };
  Kind kind = Kind::end;
  std::span<const std::uint64_t> addresses;
  std::span<const std::uint8_t> kinds;
  std::span<const Run> runs;
  Nanoseconds compute = 0;  ///< time on a CPU that the program takes for each reference, besides what memory costs
  Nanoseconds until = 0;    ///< idle: asleep until then, or until its process is changed from outside
};

class Program {
 public:
  virtual ~Program() = default;
  /// System calls are made within. All references of the turn before have been made.
  virtual Turn next(Session& session) = 0;
};

/// Makes a program from its beginning; every run of it is a process of its own.
using ProgramFactory = std::function<std::unique_ptr<Program>()>;

}  // namespace vmem::sim
