// What a process runs when time passes: references and system calls, some at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/clock.hpp"
#include "core/run.hpp"
#include "guest/kernel.hpp"
#include "hw/vcpu.hpp"

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

/// Growths of a program's demand for memory, each from the time at which it was to grow until all of it was there.
struct Bursts {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  Nanoseconds time = 0;         ///< that they took together
  Nanoseconds longest = 0;      ///< of them
  std::uint64_t cut_short = 0;  ///< the demand fell before it was there

  Bursts& operator+=(const Bursts& other) {
    count += other.count;
    bytes += other.bytes;
    time += other.time;
    longest = std::max(longest, other.longest);
    cut_short += other.cut_short;
    return *this;
  }
};

class Program {
 public:
  virtual ~Program() = default;
  /// System calls are made within. All references of the turn before have been made.
  virtual Turn next(Session& session) = 0;
  /// None, of a program without such a thing.
  virtual Bursts bursts() const { return {}; }
};

/// Makes a program from its beginning; every run of it is a process of its own.
using ProgramFactory = std::function<std::unique_ptr<Program>()>;

}  // namespace vmem::sim
