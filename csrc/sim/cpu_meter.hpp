// From what a vCPU has counted to the time that took.
#pragma once

#include <cstdint>
#include <utility>

#include "core/clock.hpp"
#include "sim/cost_model.hpp"

namespace vmem::sim {

/// Cycles to nanoseconds. Stored in kHz, so that what is a round number of GHz stays exact.
struct Frequency {
  std::uint64_t khz = 3'000'000;

  static constexpr std::uint64_t kLeast = 1'000, kMost = 100'000'000;  ///< 1 MHz to 100 GHz
};

/// Measures one vCPU. Parts add up: whatever the number of readings, their sum is the time of all cycles together,
/// rounded down once.
class CpuMeter {
 public:
  /// `counters` are the vCPU's now; time that it spends from here on is what the next reading gives.
  explicit CpuMeter(const Counters& counters) : seen_(counters) {}

  /// The time of what has been counted since the last reading.
  Nanoseconds read(const Counters& counters, const CostModel& costs, Frequency frequency) {
    const std::uint64_t cycles = costs.cycles(counters - seen_);
    seen_ = counters;
    return add(cycles, frequency);
  }

 private:
  Nanoseconds add(std::uint64_t cycles, Frequency frequency) {
    constexpr std::uint64_t kKhzNanoseconds = 1'000'000;  // nanoseconds in the period of 1 kHz
    const std::uint64_t whole = cycles / frequency.khz;
    rest_ += cycles % frequency.khz * kKhzNanoseconds;
    return whole * kKhzNanoseconds + std::exchange(rest_, rest_ % frequency.khz) / frequency.khz;
  }

  Counters seen_;
  std::uint64_t rest_ = 0;  ///< cycles × 10⁶ that are no whole nanosecond yet
};

}  // namespace vmem::sim
