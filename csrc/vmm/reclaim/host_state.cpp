#include "vmm/reclaim/host_state.hpp"

#include <string>

#include "core/error.hpp"

namespace vmem::vmm {
namespace {

std::uint64_t share_of(std::uint64_t total, std::uint32_t thousandths) { return total * thousandths / 1000; }

}  // namespace

void check_thresholds(const HostThresholds& thresholds) {
  std::uint32_t above = 1000;
  for (std::size_t i = 0; i < thresholds.enter.size(); ++i) {
    const std::uint32_t enter = thresholds.enter[i], leave = thresholds.leave[i];
    if (enter == 0 || enter >= above || leave < enter || leave > 1000)
      throw ConfigError(
          "host state " + std::string(name_of(static_cast<HostState>(i + 1))) + ": entered below " +
          std::to_string(enter) + " and left at " + std::to_string(leave) +
          " thousandths of memory free; accepted is 0 < enter <= leave <= 1000, and less from soft to hard "
          "to low");
    above = enter;
  }
}

HostState next_state(HostState now, std::uint64_t free, std::uint64_t total, const HostThresholds& thresholds) {
  auto state = static_cast<std::size_t>(now);
  while (state < thresholds.enter.size() && free < share_of(total, thresholds.enter[state])) ++state;
  if (state > static_cast<std::size_t>(now)) return static_cast<HostState>(state);
  while (state > 0 && free >= share_of(total, thresholds.leave[state - 1])) --state;
  return static_cast<HostState>(state);
}

std::uint64_t frames_for_high(std::uint64_t total, const HostThresholds& thresholds) {
  return share_of(total, thresholds.leave[0]);
}

std::uint64_t frames_for_soft(std::uint64_t total, const HostThresholds& thresholds) {
  return share_of(total, thresholds.leave[1]);
}

}  // namespace vmem::vmm
