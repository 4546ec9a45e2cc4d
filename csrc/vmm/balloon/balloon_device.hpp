// The memory balloon of a VM (virtio 1.2, 5.5), as QEMU implements it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "virtio/balloon.hpp"
#include "vmm/balloon/hint_rounds.hpp"
#include "vmm/balloon/partial_page.hpp"
#include "vmm/balloon/resize_meter.hpp"
#include "vmm/balloon/rules.hpp"
#include "vmm/daemon.hpp"
#include "vmm/virtio_device.hpp"
#include "vmm/vm_config.hpp"

namespace vmem::vmm {
class Discard;
}

namespace vmem::vmm::balloon {

/// Since the VM was created.
struct BalloonStat {
  std::uint64_t inflated = 0, deflated = 0;  ///< pages
  std::uint64_t inflate_requests = 0, deflate_requests = 0;
  std::uint64_t discarded = 0;                 ///< frames that the host got back by inflation
  std::uint64_t reports = 0, reported = 0;     ///< blocks, and their frames
  std::uint64_t reported_discarded = 0;        ///< frames that the host got back by reports
  std::uint64_t hint_rounds = 0;               ///< begun by the driver
  std::uint64_t hints = 0, hinted = 0;         ///< blocks within a round, and their frames
  std::uint64_t stale_hints = 0;               ///< blocks outside one: they came too late
  std::uint64_t hinted_discarded = 0;          ///< frames that the host got back by hints
  std::array<std::uint64_t, kRules> broken{};  ///< by Rule
};

/// What the guest last told.
struct Statistics {
  static constexpr std::uint64_t kUnknown = ~std::uint64_t{0};
  std::array<std::uint64_t, virtio::balloon::kStatNames.size()> values;  ///< by tag
  Nanoseconds updated = 0;
  bool ever = false;

  Statistics() { values.fill(kUnknown); }
};

/// `actual` became another.
struct ActualChange {
  Nanoseconds at;
  std::uint64_t bytes;
};

/// Pages that the driver inflates lose their machine frames at once. A driver that breaks a rule is counted (Rule), and
/// answered as QEMU does: a page that does not exist is skipped, everything else is done.
class BalloonDevice final : public VirtioDevice, public Daemon {
 public:
  static constexpr std::uint16_t kQueueSize = 128, kHintingQueueSize = 1024, kReportingQueueSize = 32;
  static constexpr std::size_t kChanges = 4096;

  BalloonDevice(Vm& vm, std::uint32_t window, const BalloonConfig& config);

  /// Bytes of RAM that the guest should keep; more than its RAM is its RAM.
  std::uint64_t target() const { return ram() - (std::uint64_t{num_pages_} << kPageShift); }
  void set_target(std::uint64_t bytes);
  /// Pages that set_target asked for.
  std::uint64_t wanted() const { return wanted_; }
  /// Pages that the host needs for itself in the balloon: the target is never higher than that leaves.
  std::uint64_t pressure() const { return pressure_; }
  void set_pressure(std::uint64_t pages);
  /// Bytes of RAM that it keeps, as it last said itself.
  std::uint64_t actual() const { return ram() - (std::uint64_t{actual_} << kPageShift); }
  /// Pages that the device believes to be in the balloon.
  std::uint64_t held() const { return held_count_; }
  bool holds(Gfn gfn) const { return held_[gfn.value]; }
  /// From now on, changes of `actual` are kept until they are taken: the first ones and the last one, if there are more
  /// than kChanges.
  void watch() { is_watched_ = true; }
  std::vector<ActualChange> take_changes() { return std::exchange(changes_, {}); }
  const ResizeMeter& resizes() const { return resizes_; }
  const Statistics& statistics() const { return statistics_; }
  std::uint32_t polling_interval() const { return interval_; }
  /// Seconds; 0: never.
  void set_polling_interval(std::uint32_t seconds);
  /// While set, nothing is taken from the guest (QEMU's discard inhibitor: VFIO, post-copy migration).
  void inhibit(bool inhibited) { inhibited_ = inhibited; }
  bool is_inhibited() const { return inhibited_; }
  /// Asks for hints of all free pages, in a new round. What is hinted is given back to the host at once, and the guest
  /// does not use it before `finish_hinting` unless it is short of memory.
  void start_hinting();
  /// No more hints; what has been hinted stays so.
  void stop_hinting();
  /// The guest may use its pages again.
  void finish_hinting();
  const HintRounds& hint_rounds() const { return rounds_; }
  const BalloonStat& stat() const { return stat_; }

  Nanoseconds next_deadline() const override { return deadline_; }
  void run_due(Nanoseconds now) override;

 protected:
  void on_notify(hw::Vcpu& vcpu, std::uint32_t queue) override;
  void on_reset() override;
  std::uint32_t read_config(std::uint32_t offset) override;
  void write_config(hw::Vcpu& vcpu, std::uint32_t offset, std::uint32_t value) override;

 private:
  static constexpr std::uint32_t kInflate = 0, kDeflate = 1, kNoQueue = ~0u;

  void inflate(GuestMemory& memory);
  void deflate(GuestMemory& memory);
  void take_statistics(GuestMemory& memory);
  void take_reports(GuestMemory& memory);
  void take_hints(GuestMemory& memory);
  void take_hinted(GuestMemory& memory, std::span<const virtio::Buffer> blocks);
  /// The driver tells a command id. False: that was none, and the device needs a reset.
  bool take_command(GuestMemory& memory);
  /// Gives back what backs a free block of the guest. Returns the frames.
  std::uint64_t take_free(Discard& discard, const virtio::Buffer& block);
  /// Free pages hold it, and must go on doing so; 0 also if nobody said so.
  std::uint32_t poison() const { return has(virtio::balloon::kPagePoison) ? poison_ : 0; }
  void ask_for_statistics();
  void broke(Rule rule) { ++stat_.broken[static_cast<std::size_t>(rule)]; }
  std::uint64_t ram() const;
  void retarget();
  void note_change(Nanoseconds at);

  BalloonConfig config_;
  std::uint64_t wanted_ = 0, pressure_ = 0;
  std::uint32_t stats_queue_, hinting_queue_, reporting_queue_;  ///< kNoQueue: there is none
  std::uint32_t num_pages_ = 0, actual_ = 0, poison_ = 0;
  std::vector<bool> held_;
  std::uint64_t held_count_ = 0;
  PartialPage partial_;
  bool inhibited_ = false;
  bool is_watched_ = false;
  std::vector<ActualChange> changes_;
  ResizeMeter resizes_;
  HintRounds rounds_;
  bool has_told_id_ = false;  ///< the driver, since the last reset
  bool has_stats_buffer_ = false;
  std::uint16_t stats_head_ = 0;
  Statistics statistics_;
  std::uint32_t interval_ = 0;
  Nanoseconds deadline_ = kNever;
  virtio::Chain chain_;  ///< kept for its capacity
  BalloonStat stat_;
};

}  // namespace vmem::vmm::balloon
