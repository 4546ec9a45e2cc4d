// A program whose memory grows and shrinks by a curve over time: what a monitoring system has recorded of a machine.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/programs/batch.hpp"
#include "sim/workloads/references.hpp"

namespace vmem::sim {

/// From `at` on, measured from the program's start, until the next point.
struct DemandPoint {
  Nanoseconds at = 0;
  std::uint64_t allocated = 0;  ///< bytes mapped and touched, a multiple of 4 KiB
  std::uint64_t active = 0;     ///< bytes of them that are referenced, every word alike, a multiple of 4 KiB
};

struct DemandConfig {
  std::vector<DemandPoint> curve;  ///< ascending, the first at 0
  Stores stores;
  std::uint64_t seed = 0;
  Nanoseconds compute = 0;  ///< for each reference to the active part; first touches go at full speed
  PageSize page = PageSize::k4K;
};

/// Grows by mapping and touching every page once, in order; shrinks by unmapping the end. Holds the last point for
/// good.
class DemandProgram final : public Program {
 public:
  /// ConfigError for a curve that is none.
  explicit DemandProgram(DemandConfig config);
  Turn next(Session& session) override;
  Bursts bursts() const override { return bursts_; }

 private:
  void follow(Session& session);
  /// What it grew by is there.
  void end_burst(Nanoseconds now);
  Turn touch();
  Turn use();

  DemandConfig config_;
  std::vector<SharedOffsets> offsets_;  ///< by point; none where nothing is active
  std::uint64_t reserved_;              ///< bytes of address space
  std::size_t at_ = 0;                  ///< the point that holds
  Nanoseconds start_ = 0;
  std::uint64_t base_ = 0;
  std::uint64_t mapped_ = 0, touched_ = 0;  ///< bytes
  bool is_growing_ = false;
  Nanoseconds grew_at_ = 0;      ///< when it was to grow
  std::uint64_t grew_from_ = 0;  ///< bytes
  Bursts bursts_;
  std::uint64_t made_ = 0;  ///< references to the active part
  Batch batch_;
};

}  // namespace vmem::sim
