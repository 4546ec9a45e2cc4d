// Free page hinting, the driver's side (virtio 1.2, 5.5.6.4; Linux 6.12: virtio_balloon.c).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "guest/shrinker.hpp"
#include "guest/timers.hpp"
#include "guest/virtio_driver.hpp"
#include "virtio/balloon.hpp"

namespace vmem::guest {

/// Since boot.
struct HintingStat {
  std::uint64_t rounds = 0;  ///< commands of the host that were followed
  std::uint64_t blocks = 0;  ///< told in all of them
  std::uint64_t shrunk = 0;  ///< blocks that reclaim took back before the host was done
};

/// When the host gives a new command id it tells that id, then every block of 4 MiB that it can allocate without
/// reclaim, then STOP. The blocks are the driver's until the host says DONE or memory gets short.
class FreePageHinting final : public Shrinker {
 public:
  static constexpr int kOrder = kMaxOrder;  ///< VIRTIO_BALLOON_HINT_BLOCK_ORDER

  /// `page` is the driver's own, for the ids that are sent. `has_failed`: the device will answer no more.
  FreePageHinting(const VirtioDriver& device, std::uint32_t index, virtio::DriverQueue queue, PageAllocator& pages,
                  Timers& timers, Gpa page, std::function<bool()> has_failed);

  /// The device's configuration has changed.
  void on_config_change();
  /// Every block is the kernel's again.
  void release_all(hw::Vcpu& vcpu) { give_back(vcpu, blocks_.size()); }

  std::uint64_t blocks() const { return blocks_.size(); }
  const HintingStat& stat() const { return stat_; }
  std::uint64_t count() const override { return blocks_.size() << kOrder; }
  std::uint64_t scan(hw::Vcpu& vcpu, std::uint64_t pages) override;

 private:
  void work(hw::Vcpu& vcpu);
  /// The host's command as the driver knows it: the configuration is read only after it has changed.
  std::uint32_t command(hw::Vcpu& vcpu);
  void send_command(hw::Vcpu& vcpu, Gpa at, std::uint32_t id);
  /// False: no block is left to tell of.
  bool send_block(hw::Vcpu& vcpu);
  void kick(hw::Vcpu& vcpu);
  void take_used(hw::Vcpu& vcpu);
  /// Returns how many blocks it gave back.
  std::uint64_t give_back(hw::Vcpu& vcpu, std::uint64_t blocks);

  VirtioDriver device_;
  std::uint32_t index_;
  virtio::DriverQueue queue_;
  PageAllocator& pages_;
  Timers& timers_;
  Gpa start_, stop_;  ///< where the ids lie that are sent
  std::function<bool()> has_failed_;
  Timers::Id work_;
  bool must_read_ = true;
  std::uint32_t received_ = virtio::balloon::kHintStop, active_ = virtio::balloon::kHintStop;
  std::vector<Gfn> blocks_;
  HintingStat stat_;
};

}  // namespace vmem::guest
