// One vCPU as time sees it.
#pragma once

#include <algorithm>

#include "hw/vcpu.hpp"
#include "sim/cpu_meter.hpp"

namespace vmem::sim {

/// What a vCPU's time has gone to.
struct VcpuTimes {
  Nanoseconds running = 0;   ///< by the cost model, on a physical CPU
  Nanoseconds waiting = 0;   ///< for disk or swap
  Nanoseconds runnable = 0;  ///< had something to run and no physical CPU

  VcpuTimes& operator+=(const VcpuTimes& other) {
    running += other.running;
    waiting += other.waiting;
    runnable += other.runnable;
    return *this;
  }
};

/// A vCPU, what it has cost so far, and from when on it can run again.
struct VcpuClock {
  explicit VcpuClock(hw::Vcpu& measured) : vcpu(&measured), meter(measured.mmu().counters()) {}

  /// When it can next deliver an interrupt; hw::Interrupts::kNever if none is on its way, or its VM is paused.
  Nanoseconds next_interrupt() const {
    return is_paused ? hw::Interrupts::kNever : std::max(ready_at, vcpu->interrupts().next());
  }
  /// It has run from `start` on, `computed` of that without memory: takes what that cost.
  void settle(Nanoseconds start, Nanoseconds computed, const CostModel& costs, Frequency frequency) {
    const Nanoseconds ran = computed + meter.read(vcpu->mmu().counters(), costs, frequency);
    const Nanoseconds waited = vcpu->take_waits();
    times.running += ran;
    times.waiting += waited;
    left_at = start + ran;
    ready_at = left_at + waited;
  }

  hw::Vcpu* vcpu;
  CpuMeter meter;
  Nanoseconds left_at = 0;   ///< left its physical CPU: was done, or began to wait
  Nanoseconds ready_at = 0;  ///< can run again
  bool is_paused = false;    ///< does not run by itself as time passes; interrupts stay on their way
  VcpuTimes times;
};

}  // namespace vmem::sim
