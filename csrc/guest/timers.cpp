#include "guest/timers.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace vmem::guest {

Timers::Id Timers::add(Work work) {
  timers_.push_back({hw::Interrupts::kNever, 0, std::move(work)});
  return timers_.size() - 1;
}

void Timers::arm(Id timer, Nanoseconds deadline) {
  timers_[timer].deadline = deadline;
  timers_[timer].armed = armings_++;
  program();
}

Timers::Timer* Timers::earliest() {
  const auto found = std::min_element(timers_.begin(), timers_.end(), [](const Timer& a, const Timer& b) {
    return std::tie(a.deadline, a.armed) < std::tie(b.deadline, b.armed);
  });
  return found == timers_.end() ? nullptr : &*found;
}

void Timers::program() {
  const Timer* const next = earliest();
  vcpu_.interrupts().set_timer(next == nullptr ? hw::Interrupts::kNever : next->deadline);
}

void Timers::run_due() {
  // Only what was armed before the interrupt: a timer that arms itself anew with no delay gets an interrupt of its own.
  const std::uint64_t before = armings_;
  for (;;) {
    Timer* const next = earliest();
    if (next == nullptr || next->deadline > vcpu_.now() || next->armed >= before) break;
    next->deadline = hw::Interrupts::kNever;
    const Work work = next->work;  // which may add timers
    work(vcpu_);
  }
  program();
}

}  // namespace vmem::guest
