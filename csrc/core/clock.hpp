// Simulated time.
#pragma once

#include <cstdint>

namespace vmem {

/// Nanoseconds since the host was switched on.
using Nanoseconds = std::uint64_t;
inline constexpr Nanoseconds kMillisecond = 1'000'000;
inline constexpr Nanoseconds kSecond = 1'000'000'000;

/// The clock of one host: everybody may read it, sim/ alone moves it.
class Clock {
 public:
  Nanoseconds now() const { return now_; }
  /// Never backwards.
  void advance_to(Nanoseconds time) {
    if (time > now_) now_ = time;
  }

 private:
  Nanoseconds now_ = 0;
};

}  // namespace vmem
