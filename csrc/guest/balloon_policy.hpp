// Which pages go into the balloon, which come back, and how fast: a driver's decisions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "guest/page_allocator.hpp"
#include "virtio/balloon.hpp"

namespace vmem::guest {

/// The kernel's memory as a balloon driver gets it. Pages that it has taken and not put into the balloon are in its
/// hand; the page array says which (PageUse::balloon without page_flag::kOffline).
class BalloonHand {
 public:
  BalloonHand(PageAllocator& pages, hw::Vcpu& vcpu) : pages_(pages), vcpu_(vcpu) {}

  /// The first of 2^order pages in a row, each a page of its own; nothing if none is to be had without hurting others:
  /// balloon_page_alloc's GFP_HIGHUSER_MOVABLE | __GFP_NORETRY, so reclaim is tried once and nobody is killed.
  std::optional<Gfn> allocate(int order);
  bool has(Gfn page) const;
  /// A page in hand goes back to the kernel.
  void free(Gfn page) { pages_.free(vcpu_, page, 0); }

 private:
  PageAllocator& pages_;
  hw::Vcpu& vcpu_;
};

class BalloonPolicy {
 public:
  struct Choice {
    std::vector<Gfn> pages;
    /// There were not as many as there should have been: they are told after a pause (BalloonDriver::kPause).
    bool out_of_puff = false;
  };

  virtual ~BalloonPolicy() = default;
  /// The host wants `wanted` more pages in the balloon. Pages in hand that go into it now, at most so many, in the
  /// order in which the host is told.
  virtual Choice choose(BalloonHand& hand, std::uint64_t wanted) = 0;
  /// The host wants `count` pages fewer in it. Those of `balloon` that come out now, at most so many.
  virtual std::vector<Gfn> release(std::span<const Gfn> balloon, std::uint64_t count) = 0;
  /// From one request to the next.
  virtual Nanoseconds delay() const { return 0; }
};

/// Single pages, 256 in a request; last in, first out.
class LinuxBalloonPolicy final : public BalloonPolicy {
 public:
  Choice choose(BalloonHand& hand, std::uint64_t wanted) override;
  std::vector<Gfn> release(std::span<const Gfn> balloon, std::uint64_t count) override;
};

}  // namespace vmem::guest
