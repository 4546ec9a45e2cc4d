// What happened on a host that is worth telling: rare things with numbers, not counters.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.hpp"

namespace vmem {

/// docs/reference/events.md gives the kinds, and the meaning of each one's numbers.
struct Event {
  Nanoseconds at = 0;
  std::string kind;     ///< such as "oom_kill", "host_state", "balloon_target"
  std::string subject;  ///< the VM's name, a process's, or "host"
  std::vector<std::pair<std::string, std::uint64_t>> numbers;
};

/// Events in the order in which they happened. Bounded: when full, the oldest half goes and is counted.
class Events {
 public:
  static constexpr std::size_t kCapacity = 1 << 16;

  void add(Event event) {
    if (kept_.size() == kCapacity) {
      kept_.erase(kept_.begin(), kept_.begin() + kCapacity / 2);
      dropped_ += kCapacity / 2;
    }
    kept_.push_back(std::move(event));
  }
  const std::vector<Event>& kept() const { return kept_; }
  std::uint64_t dropped() const { return dropped_; }

 private:
  std::vector<Event> kept_;
  std::uint64_t dropped_ = 0;
};

/// The events of one host, each at the time that its clock shows.
class EventLog {
 public:
  explicit EventLog(const Clock& clock) : clock_(clock) {}

  void add(std::string kind, std::string subject, std::vector<std::pair<std::string, std::uint64_t>> numbers = {}) {
    events_.add({clock_.now(), std::move(kind), std::move(subject), std::move(numbers)});
  }
  const std::vector<Event>& events() const { return events_.kept(); }
  std::uint64_t dropped() const { return events_.dropped(); }

 private:
  const Clock& clock_;
  Events events_;
};

}  // namespace vmem
