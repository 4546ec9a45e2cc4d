// Driver of the memory balloon, as Linux has it (6.12: drivers/virtio/virtio_balloon.c).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "guest/timers.hpp"
#include "guest/virtio_driver.hpp"
#include "virtio/balloon.hpp"

namespace vmem::guest {

class Kernel;

/// Since boot.
struct BalloonDriverStat {
  std::uint64_t inflated = 0, deflated = 0;  ///< pages: Linux's balloon_inflate and balloon_deflate
  std::uint64_t out_of_puff = 0;             ///< times that no page was to be had
  std::uint64_t oom_deflated = 0;            ///< pages given back to keep a process alive
};

/// One work item goes from request to request until the balloon is as large as the host wants: at most 256 pages, order
/// 0 without retry; tell the host and wait; write `actual`. When no page is to be had it sleeps for 200 ms, then tells
/// of what it has. Pages come back last in, first out, and the host is always told before they are freed.
class BalloonDriver {
 public:
  static constexpr Nanoseconds kPause = 200 * kMillisecond;  ///< "Out of puff"
  static constexpr std::uint64_t kOomPages = 256;            ///< given back by the OOM notifier

  /// nullptr: the device refuses, or the kernel has no memory for the queues.
  static std::unique_ptr<BalloonDriver> probe(hw::Vcpu& vcpu, std::uint32_t window, Kernel& kernel);

  hw::Vector vector() const { return device_.vector(); }
  /// In the balloon, in the order in which they went in.
  const std::vector<Gfn>& pages() const { return pages_; }
  bool deflates_on_oom() const { return device_.has(virtio::balloon::kDeflateOnOom); }
  const BalloonDriverStat& stat() const { return stat_; }

  void on_interrupt(hw::Vcpu& vcpu);
  /// The kernel is about to kill a process for want of memory. Returns the pages freed.
  std::uint64_t on_out_of_memory(hw::Vcpu& vcpu);

 private:
  BalloonDriver(VirtioDriver device, Kernel& kernel) : device_(device), kernel_(kernel) {}
  bool set_up(hw::Vcpu& vcpu);

  void work(hw::Vcpu& vcpu);
  /// Pages that the host wants in the balloon, less those that are in it.
  std::int64_t towards_target(hw::Vcpu& vcpu) const;
  /// Takes pages from the kernel. False: there were fewer.
  bool gather(hw::Vcpu& vcpu, std::uint64_t count);
  void inflate_gathered(hw::Vcpu& vcpu);
  std::uint64_t leak(hw::Vcpu& vcpu, std::uint64_t count);
  void tell_host(hw::Vcpu& vcpu, std::uint32_t queue);
  void write_actual(hw::Vcpu& vcpu) const;
  void send_statistics(hw::Vcpu& vcpu);
  /// Without DEFLATE_ON_OOM the balloon's pages are not the kernel's to manage: MemTotal changes by each one gathered.
  void adjust_managed(hw::Vcpu& vcpu, std::int64_t by) const;

  static constexpr std::uint32_t kInflate = 0, kDeflate = 1, kStats = 2;
  /// In the driver's page: the PFNs of a request, then statistics.
  static constexpr std::uint64_t kStatsAt = sizeof(virtio::balloon::Pfn) * virtio::balloon::kPfnsPerRequest;

  VirtioDriver device_;
  Kernel& kernel_;
  virtio::DriverQueue queues_[3];
  Gpa buffer_;
  Timers::Id work_ = 0;
  std::vector<Gfn> pages_;
  std::vector<Gfn> gathered_;  ///< taken, and not yet told
  BalloonDriverStat stat_;
  bool failed_ = false;
};

}  // namespace vmem::guest
