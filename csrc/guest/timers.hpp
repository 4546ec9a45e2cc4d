// The guest kernel's timers: work that it does by itself as time passes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/clock.hpp"
#include "hw/vcpu.hpp"

namespace vmem::guest {

/// All timers of a kernel live on one vCPU, whose hardware timer they share: it is set to the earliest deadline. Work
/// runs in that vCPU's timer interrupt, so its waits are the vCPU's; it may arm any timer, its own among them.
class Timers {
 public:
  using Id = std::size_t;
  using Work = std::function<void(hw::Vcpu&)>;

  explicit Timers(hw::Vcpu& vcpu) : vcpu_(vcpu) {}

  /// A timer for as long as the kernel lives, not armed yet.
  Id add(Work work);
  /// Replaces the deadline, if there is one. A deadline that has passed is due at once, in the next timer interrupt.
  void arm(Id timer, Nanoseconds deadline);
  void cancel(Id timer) { arm(timer, hw::Interrupts::kNever); }
  bool is_armed(Id timer) const { return timers_[timer].deadline != hw::Interrupts::kNever; }
  /// What the vCPU shows: what deadlines are measured from.
  Nanoseconds now() const { return vcpu_.now(); }
  /// The timer interrupt's handler: the work of every timer that is due, by deadline, then in the order of arming.
  void run_due();

 private:
  struct Timer {
    Nanoseconds deadline;
    std::uint64_t armed;  ///< so many were armed before
    Work work;
  };

  Timer* earliest();
  void program();

  hw::Vcpu& vcpu_;
  std::vector<Timer> timers_;
  std::uint64_t armings_ = 0;
};

}  // namespace vmem::guest
