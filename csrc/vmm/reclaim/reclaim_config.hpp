// How a host reclaims memory from its VMs.
#pragma once

#include <cstdint>

#include "core/clock.hpp"
#include "vmm/reclaim/host_state.hpp"

namespace vmem::vmm {

/// Which of a VM's pages goes to the swap.
enum class VictimPolicy : std::uint8_t {
  random,  ///< any, as ESX: the guest's own policy is the reason why the least recently used may be the worst to take
  clock,   ///< the first that was not accessed since the hand came by
};

struct ReclaimConfig {
  HostThresholds thresholds;
  VictimPolicy victims = VictimPolicy::random;
  /// How often the host looks at itself. ESX's balloon drivers poll once a second.
  Nanoseconds period = kSecond;
  std::uint64_t seed = 1;
  bool asks_balloons = true;  ///< false: somebody else sets their targets, as on KVM hosts
};

}  // namespace vmem::vmm
