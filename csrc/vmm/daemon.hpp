// Work that the hypervisor does by itself as time passes: reclaim, scanning, statistics.
#pragma once

#include <limits>

#include "core/clock.hpp"

namespace vmem::vmm {

/// Runs on the host's own processors: it takes no time from any vCPU.
class Daemon {
 public:
  static constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();

  virtual ~Daemon() = default;
  /// When it wants to run next; kNever: not until something else changes this.
  virtual Nanoseconds next_deadline() const = 0;
  /// Called once `now`, the host's clock, has reached the deadline; the next deadline lies after `now`.
  virtual void run_due(Nanoseconds now) = 0;
};

}  // namespace vmem::vmm
