// Free page reporting: large free blocks are told to the host (Linux 6.12: mm/page_reporting.c).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>

#include "guest/page_allocator.hpp"
#include "guest/timers.hpp"
#include "virtio/chain.hpp"

namespace vmem::guest {

/// Since boot.
struct PageReportingStat {
  std::uint64_t cycles = 0;    ///< runs over the free lists
  std::uint64_t requests = 0;  ///< scatterlists handed over
  std::uint64_t blocks = 0, pages = 0;
};

/// Two seconds after a block of at least kOrder has been freed it goes over the free lists, from the smallest blocks to
/// the largest. Blocks are isolated until the host has taken note, and then lie at the end of their list, marked
/// (page_flag::kReported) so that they are not told again. A list that has more than its budget is continued in another
/// two seconds. What is above the frontier of a zone has never been touched and is not told.
class PageReporting final : public FreeObserver {
 public:
  static constexpr int kOrder = 9;                    ///< pageblock_order
  static constexpr std::size_t kCapacity = 32;        ///< PAGE_REPORTING_CAPACITY: blocks in a request
  static constexpr Nanoseconds kDelay = 2 * kSecond;  ///< PAGE_REPORTING_DELAY
  static constexpr std::uint64_t kBudgetParts = 16;   ///< requests of a cycle cover so much of a list

  /// Hands a scatterlist over and waits until the host is done with it. False: it never will be.
  using Report = std::function<bool(hw::Vcpu&, std::span<const virtio::Buffer>)>;

  /// page_reporting_register: what is free already is told as well.
  PageReporting(PageAllocator& pages, Timers& timers, Report report);

  void on_large_block() override;
  const PageReportingStat& stat() const { return stat_; }

 private:
  enum class State : std::uint8_t { idle, requested, active };

  void run(hw::Vcpu& vcpu);
  bool run_zone(hw::Vcpu& vcpu, int zone);
  bool run_list(hw::Vcpu& vcpu, int zone, int order);
  bool hand_over(hw::Vcpu& vcpu, int zone);
  bool may_isolate(hw::Vcpu& vcpu, int zone, int order) const;

  PageAllocator& pages_;
  Timers& timers_;
  Report report_;
  Timers::Id work_;
  State state_ = State::idle;
  std::array<virtio::Buffer, kCapacity> list_;  ///< filled from its end
  std::size_t first_ = kCapacity;               ///< of `list_` in use
  PageReportingStat stat_;
};

}  // namespace vmem::guest
