// Pressure stall information of memory, as Linux's kernel/sched/psi.c reports it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/clock.hpp"
#include "guest/cpus.hpp"

namespace vmem::guest {

/// /proc/pressure/memory: one of its lines.
struct PsiLine {
  std::array<double, 3> average{};  ///< percent of time, over 10, 60 and 300 s
  Nanoseconds total = 0;
};

/// A vCPU stalls while what it runs waits for memory. Some: at least one vCPU does. Full: every vCPU that has work
/// does.
class Psi {
 public:
  static constexpr Nanoseconds kPeriod = 2 * kSecond;  ///< PSI_FREQ: averages change so often

  explicit Psi(const Cpus& cpus) : cpus_(cpus), depth_(cpus.size(), 0), since_(cpus.size(), 0) {}

  /// A vCPU waits for memory for as long as this lives. Stalls within a stall are part of it.
  class Stall {
   public:
    Stall(Psi& psi, const hw::Vcpu& vcpu) : psi_(psi), vcpu_(vcpu) { psi_.begin(vcpu_); }
    ~Stall() { psi_.end(vcpu_); }
    Stall(const Stall&) = delete;
    Stall& operator=(const Stall&) = delete;

   private:
    Psi& psi_;
    const hw::Vcpu& vcpu_;
  };

  struct Pressure {
    PsiLine some, full;
  };
  Pressure read(Nanoseconds now);

 private:
  struct Interval {
    Nanoseconds begin, end;
  };
  struct Share {
    Nanoseconds some = 0, full = 0;
  };
  void begin(const hw::Vcpu& vcpu);
  void end(const hw::Vcpu& vcpu);
  void settle(Nanoseconds now);
  Share measure(Nanoseconds from, Nanoseconds to) const;

  const Cpus& cpus_;
  std::vector<int> depth_;           ///< by vCPU
  std::vector<Nanoseconds> since_;   ///< by vCPU that stalls
  std::vector<Interval> intervals_;  ///< not yet wholly in a finished period
  Nanoseconds period_ = 0;           ///< start of the period that runs
  PsiLine some_, full_;              ///< up to there
};

}  // namespace vmem::guest
