// The devices that a kernel found, and their drivers.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "guest/balloon_driver.hpp"
#include "guest/block_driver.hpp"
#include "guest/interrupt_table.hpp"
#include "guest/swap.hpp"

namespace vmem::guest {

class Devices {
 public:
  /// Looks at every window of the bus, as a kernel does when it boots.
  Devices(hw::Vcpu& boot, Kernel& kernel, InterruptTable& interrupts);
  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

  /// nullptr: there is none. A swap space is not the disk.
  BlockDriver* disk() { return disk_.get(); }
  BlockDriver* swap_disk() { return swap_disk_.get(); }
  /// nullptr: there is no balloon, or no driver for it.
  BalloonDriver* balloon() { return balloon_.get(); }
  /// rmmod and modprobe. False: there is no driver to unload; one is loaded already, or finds no balloon.
  bool unload_balloon(hw::Vcpu& vcpu);
  bool load_balloon(hw::Vcpu& vcpu, Kernel& kernel);

 private:
  void probe_disk(hw::Vcpu& boot, std::uint32_t window, PageAllocator& pages, InterruptTable& interrupts) {
    auto driver = BlockDriver::probe(boot, pages, window);
    if (driver == nullptr) return;
    interrupts.install(driver->vector(), [disk = driver.get()](hw::Vcpu& vcpu) { disk->on_interrupt(vcpu); });
    std::unique_ptr<BlockDriver>& place = Swap::is_swap_space(boot, pages, *driver) ? swap_disk_ : disk_;
    if (place == nullptr) {
      place = std::move(driver);
    } else {
      spare_disks_.push_back(std::move(driver));
    }
  }

  void probe_balloon(hw::Vcpu& boot, std::uint32_t window, Kernel& kernel, InterruptTable& interrupts);

  std::unique_ptr<BlockDriver> disk_, swap_disk_;
  std::vector<std::unique_ptr<BlockDriver>> spare_disks_;
  std::unique_ptr<BalloonDriver> balloon_;
  std::vector<std::unique_ptr<BalloonDriver>> removed_;  ///< timers still name them
  std::optional<std::uint32_t> balloon_window_;
};

}  // namespace vmem::guest
