// What the balloon driver tells of the guest's memory (virtio 1.2, 5.5.6.3; Linux 6.12: update_balloon_stats).
#pragma once

#include <array>
#include <cstddef>

#include "virtio/balloon.hpp"

namespace vmem::guest {

class Kernel;

/// Those of Linux without hugetlbfs.
inline constexpr std::size_t kBalloonStatistics = 14;
using BalloonStatistics = std::array<std::byte, kBalloonStatistics * virtio::balloon::kStatBytes>;

/// As of now, as the device reads them.
BalloonStatistics balloon_statistics(Kernel& kernel);

}  // namespace vmem::guest
