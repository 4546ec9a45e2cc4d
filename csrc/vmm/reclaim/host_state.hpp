// How short of memory a host is.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace vmem::vmm {

/// As in ESX (Waldspurger, OSDI 2002, section 6.3).
enum class HostState : std::uint8_t {
  high,  ///< enough is free: nothing is reclaimed
  soft,  ///< balloons; swap where a VM has no balloon
  hard,  ///< swap, until balloons can do the rest
  low,   ///< swap, at once
};
inline constexpr std::size_t kHostStates = 4;
constexpr std::string_view name_of(HostState state) {
  constexpr std::array<std::string_view, kHostStates> kNames{"high", "soft", "hard", "low"};
  return kNames[static_cast<std::size_t>(state)];
}

/// Thousandths of the machine's memory. ESX's classic 6, 4, 2 and 1 %.
struct HostThresholds {
  /// A state is entered when less is free: soft, hard, low.
  std::array<std::uint32_t, kHostStates - 1> enter{40, 20, 10};
  /// And left for the one above when at least so much is: more than its own threshold, so that states do not flutter.
  std::array<std::uint32_t, kHostStates - 1> leave{60, 40, 20};

  bool operator==(const HostThresholds&) const = default;
};

/// ConfigError unless every state is left at more than it is entered at, and the worse ones are entered at less.
void check_thresholds(const HostThresholds& thresholds);
HostState next_state(HostState now, std::uint64_t free, std::uint64_t total, const HostThresholds& thresholds);
/// Frames that must be free for the host to be back in the state `high`, or at least in `soft`.
std::uint64_t frames_for_high(std::uint64_t total, const HostThresholds& thresholds);
std::uint64_t frames_for_soft(std::uint64_t total, const HostThresholds& thresholds);

}  // namespace vmem::vmm
