// Taking from a guest the machine frames behind pages that it does not need.
#pragma once

#include <cstdint>

#include "core/address.hpp"
#include "core/counters.hpp"
#include "vmm/unmap.hpp"

namespace vmem::vmm {

class Vm;

/// What backs guest pages is given back, by vmm::Unmap, when this goes out of scope. A page in the host's swap loses
/// its slot.
class Discard {
 public:
  explicit Discard(Vm& vm) : vm_(vm), unmap_(vm) {}

  /// What was done since it was made.
  struct Tally {
    std::uint64_t ranges = 0;  ///< that lost any backing
    std::uint64_t small = 0;   ///< frames that pages of 4 KiB backed
    std::uint64_t large = 0;   ///< 2 MiB pieces that larger pages backed
  };
  const Tally& tally() const { return tally_; }
  void add_to(Counters& counters) const;

  /// One 4 KiB page; a larger one around it is cut. Returns the frames that lost their backing.
  std::uint64_t page(Gfn gfn);
  /// Whole host pages inside [first, first + count); one that juts out is cut.
  std::uint64_t range(Gfn first, std::uint64_t count);

 private:
  std::uint64_t take_small(Gfn gfn);
  bool drop_swapped(Gfn gfn);

  Vm& vm_;
  Unmap unmap_;
  Tally tally_;
};

}  // namespace vmem::vmm
