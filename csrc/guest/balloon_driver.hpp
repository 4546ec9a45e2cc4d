// Driver of the memory balloon, as Linux has it (6.12: drivers/virtio/virtio_balloon.c).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "guest/balloon_policy.hpp"
#include "guest/free_page_hinting.hpp"
#include "guest/page_reporting.hpp"
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

/// One work item goes from request to request until the balloon is as large as the host wants: the pages that its
/// policy chooses; tell the host and wait; write `actual`. When no page is to be had it sleeps for 200 ms, then tells
/// of what it has. The host is always told before pages that come back are freed.
class BalloonDriver {
 public:
  static constexpr Nanoseconds kPause = 200 * kMillisecond;  ///< "Out of puff"
  static constexpr std::uint64_t kOomPages = 256;            ///< given back by the OOM notifier
  static constexpr std::size_t kMostPfns = 512;              ///< in one request, whatever the policy

  /// nullptr: the device refuses, or the kernel has no memory for the queues.
  static std::unique_ptr<BalloonDriver> probe(hw::Vcpu& vcpu, std::uint32_t window, Kernel& kernel);

  hw::Vector vector() const { return device_.vector(); }
  /// In the balloon, in the order in which they went in.
  const std::vector<Gfn>& pages() const { return pages_; }
  bool deflates_on_oom() const { return device_.has(virtio::balloon::kDeflateOnOom); }
  const BalloonDriverStat& stat() const { return stat_; }
  /// nullptr: not agreed on.
  const PageReporting* reporting() const { return reporting_.get(); }
  const FreePageHinting* hinting() const { return hinting_.get(); }
  /// Queues in the order of their numbers.
  std::vector<virtio::Rings> rings() const { return rings_; }
  /// Rings the doorbell of a queue.
  void kick(hw::Vcpu& vcpu, std::uint32_t queue) const { device_.notify(vcpu, queue); }
  void follow(std::unique_ptr<BalloonPolicy> policy) { policy_ = std::move(policy); }

  void on_interrupt(hw::Vcpu& vcpu);
  /// virtballoon_remove: everything comes back, and the device is reset. The driver does nothing any more.
  void remove(hw::Vcpu& vcpu);
  /// The kernel is about to kill a process for want of memory. Returns the pages freed.
  std::uint64_t on_out_of_memory(hw::Vcpu& vcpu);

 private:
  BalloonDriver(VirtioDriver device, Kernel& kernel) : device_(device), kernel_(kernel) {}
  static std::uint64_t wanted_features(hw::Vcpu& vcpu, const VirtioDriver& device, Kernel& kernel);
  bool set_up(hw::Vcpu& vcpu);
  std::optional<virtio::DriverQueue> next_queue(hw::Vcpu& vcpu, std::uint16_t most);
  /// False: the kernel has no memory for them, or the device's queue is too short for reports.
  bool set_up_hinting(hw::Vcpu& vcpu);
  bool set_up_reporting(hw::Vcpu& vcpu);

  void work(hw::Vcpu& vcpu);
  /// Pages that the host wants in the balloon, less those that are in it.
  std::int64_t towards_target(hw::Vcpu& vcpu) const;
  /// Asks the policy. False: after a pause.
  bool gather(hw::Vcpu& vcpu, std::uint64_t count);
  void inflate_gathered(hw::Vcpu& vcpu);
  void deflate(hw::Vcpu& vcpu, const std::vector<Gfn>& pages);
  void tell_host(hw::Vcpu& vcpu, std::uint32_t queue, std::span<const Gfn> pages);
  bool report(hw::Vcpu& vcpu, std::span<const virtio::Buffer> blocks);
  /// Notifies the device of what was added and waits until it has used it. False: it never will.
  bool kick_and_wait(hw::Vcpu& vcpu, std::uint32_t queue);
  void write_actual(hw::Vcpu& vcpu) const;
  void send_statistics(hw::Vcpu& vcpu);
  /// Without DEFLATE_ON_OOM the balloon's pages are not the kernel's to manage: MemTotal changes by each one gathered.
  void adjust_managed(hw::Vcpu& vcpu, std::span<const Gfn> pages, std::int64_t by) const;

  static constexpr std::uint32_t kInflate = 0, kDeflate = 1, kStats = 2;
  /// In the driver's page: the PFNs of a request, then statistics, then the ids of hinting.
  static constexpr std::uint64_t kStatsAt = sizeof(virtio::balloon::Pfn) * kMostPfns, kIdsAt = kStatsAt + 1024;

  VirtioDriver device_;
  Kernel& kernel_;
  std::vector<virtio::DriverQueue> queues_;  ///< all but the one of hinting
  std::vector<virtio::Rings> rings_;
  Gpa buffer_;
  Timers::Id work_ = 0;
  std::unique_ptr<BalloonPolicy> policy_ = std::make_unique<LinuxBalloonPolicy>();
  std::unique_ptr<FreePageHinting> hinting_;
  std::unique_ptr<PageReporting> reporting_;
  std::uint32_t reporting_queue_ = 0;  ///< its number
  std::vector<Gfn> pages_;
  std::vector<Gfn> gathered_;  ///< chosen, and not yet told
  BalloonDriverStat stat_;
  bool is_telling_ = false;  ///< the work item looks at the target again when that is done
  bool failed_ = false;
};

}  // namespace vmem::guest
