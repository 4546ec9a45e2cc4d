// What a page of memory is a copy of: a slot of the swap space, a page of a file.
#pragma once

#include <cstdint>

#include "core/address.hpp"
#include "hw/vcpu.hpp"

namespace vmem::guest {

/// Whoever keeps the bytes of pages that reclaim takes out of memory.
class PageStore {
 public:
  /// Brings the store up to date with the page, which is then clean. True: it is so at once. Otherwise the page is
  /// flagged kWriteback until its write, which waits for `start_writes`, has ended.
  virtual bool write(hw::Vcpu& vcpu, Gfn gfn) = 0;
  virtual void start_writes(hw::Vcpu& vcpu) = 0;
  /// Pages whose write is under way.
  virtual std::uint64_t in_flight() const = 0;
  /// Waits until a write has ended. False: there is none.
  virtual bool wait_for_write(hw::Vcpu& vcpu) = 0;
  /// The page, which is clean, leaves memory at this time of the reclaim clock.
  virtual void evict(hw::Vcpu& vcpu, Gfn gfn, std::uint32_t age) = 0;

 protected:
  ~PageStore() = default;
};

}  // namespace vmem::guest
