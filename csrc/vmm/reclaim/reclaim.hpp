// The host takes memory back from its VMs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/daemon.hpp"
#include "vmm/host.hpp"
#include "vmm/reclaim/victims.hpp"

namespace vmem::vmm {

class Vm;

/// Two roads. As time passes, the daemon looks at what is free, and reclaims by the host's state. When an exit finds
/// less than a small reserve free, the host swaps at once, before anything of the exit is done: so nothing is taken
/// from a guest in the middle of what the hypervisor does for it.
///
/// The VM that gives is the one with the fewest shares for what it holds (min-funding revocation), never below its
/// reservation.
class Reclaim final : public Daemon {
 public:
  Reclaim(Host& host, const std::vector<std::unique_ptr<Vm>>& vms, const ReclaimConfig& config);

  /// An exit of this VM may need frames.
  void before_exit(Vm& vm) {
    if (host_.memory.buddy().free_frames() < reserve_ || is_at_limit(vm)) [[unlikely]]
      make_room_for(vm);
  }
  /// So many frames are free for a user outside the VMs, and the reserve besides. False: that cannot be had.
  bool free_up(std::uint64_t frames);
  /// No frame is left for `vm`, and nothing can be swapped out: one VM is killed, with an event. The one that holds the
  /// most machine memory above its reservation, of equals the youngest; but a VM that is still being made is given up
  /// itself. Returns whether `vm` lives on.
  bool last_resort(Vm& vm);

  HostState state() const { return state_; }
  /// Frames that only exits may use, for what one of them needs.
  std::uint64_t reserve() const { return reserve_; }
  /// kNever while there is nothing to do: a host with enough memory costs no time to simulate.
  Nanoseconds next_deadline() const override;
  void run_due(Nanoseconds now) override;

 private:
  static bool is_at_limit(const Vm& vm);
  void make_room_for(Vm& vm);
  void enter_state(HostState state);
  /// Swaps until so many frames are free, or nothing more can be had. Returns whether they are.
  bool swap_until(std::uint64_t free);
  /// Swaps up to `count` pages of the VM. Returns how many.
  std::uint64_t swap_from(Vm& vm, std::uint64_t count);
  std::uint64_t ask_balloons(std::uint64_t frames);
  /// Of what balloons gave, so much as the host can spare, first to the VM that has the least for its shares.
  void give_back(std::uint64_t frames);
  Vm* poorest() const;

  Host& host_;
  const std::vector<std::unique_ptr<Vm>>& vms_;
  ReclaimConfig config_;
  Victims victims_;
  std::uint64_t reserve_;
  HostState state_ = HostState::high;
  bool balloons_hold_ = false;  ///< something that the host asked for
  Nanoseconds next_;
};

}  // namespace vmem::vmm
