// The host inflates a balloon for its own need.
#pragma once

#include <cstdint>

#include "vmm/balloon/balloon_device.hpp"
#include "vmm/reclaim/reclaim_source.hpp"

namespace vmem::vmm::balloon {

/// Beside the target that somebody has set: the smaller of the two holds.
class BalloonReclaim final : public ReclaimSource {
 public:
  /// Of a VM's memory, the most that the host asks a balloon for: ESX's Mem.CtlMaxPercent.
  static constexpr std::uint64_t kMostPercent = 65;

  BalloonReclaim(const Vm& vm, BalloonDevice& device) : vm_(vm), device_(device) {}

  std::uint64_t request(std::uint64_t frames) override;
  void relax() override;
  std::uint64_t given() const override;
  std::uint64_t give_back(std::uint64_t frames) override;

 private:
  const Vm& vm_;
  BalloonDevice& device_;
};

}  // namespace vmem::vmm::balloon
