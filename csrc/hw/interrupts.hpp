// Interrupts on their way to a vCPU: those that devices have raised, and its own timer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "core/clock.hpp"
#include "hw/handlers.hpp"

namespace vmem::hw {

/// Each has the time at which it arrives. Equal times are delivered in the order in which they were raised.
class Interrupts {
 public:
  static constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();

  /// An interrupt that is pending already arrives once, at the earlier time.
  void raise(Vector vector, Nanoseconds at) {
    for (Pending& pending : pending_) {
      if (pending.vector != vector) continue;
      pending.at = std::min(pending.at, at);
      return;
    }
    pending_.push_back({at, vector});
  }
  /// The timer's only deadline is set anew; kNever stops it.
  void set_timer(Nanoseconds deadline) {
    std::erase_if(pending_, [](const Pending& pending) { return pending.vector == kTimerVector; });
    if (deadline != kNever) pending_.push_back({deadline, kTimerVector});
  }
  /// When the next one arrives.
  Nanoseconds next() const {
    Nanoseconds earliest = kNever;
    for (const Pending& pending : pending_) earliest = std::min(earliest, pending.at);
    return earliest;
  }
  /// Takes the earliest that has arrived by `now`.
  std::optional<Vector> take(Nanoseconds now) {
    const auto earliest = std::min_element(pending_.begin(), pending_.end(),
                                           [](const Pending& a, const Pending& b) { return a.at < b.at; });
    if (earliest == pending_.end() || earliest->at > now) return std::nullopt;
    const Vector vector = earliest->vector;
    pending_.erase(earliest);
    return vector;
  }
  void clear() { pending_.clear(); }

 private:
  struct Pending {
    Nanoseconds at;
    Vector vector;
  };
  std::vector<Pending> pending_;
};

}  // namespace vmem::hw
