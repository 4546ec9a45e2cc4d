// 4 KiB pages of a balloon on a host whose pages are larger.
#pragma once

#include <bitset>
#include <cstdint>

#include "core/address.hpp"

namespace vmem::vmm::balloon {

/// QEMU's PartiallyBalloonedPage: within one request, pages are gathered until they make up a whole host page. What is
/// gathered is forgotten when a page of another host page comes, and at the end of the request. A request of Linux has
/// 256 pages, so a host page of 2 MiB never fills up.
class PartialPage {
 public:
  explicit PartialPage(std::uint64_t frames) : frames_(frames) {}

  void forget() {
    count_ = 0;
    seen_.reset();
  }
  /// True: with this page, the host page that begins at `base()` is complete.
  bool add(Gfn gfn) {
    const Gfn base{align_down(gfn.value, frames_)};
    if (base != base_) forget();
    base_ = base;
    const std::size_t index = gfn.value - base.value;
    if (seen_.test(index)) return false;
    seen_.set(index);
    return ++count_ == frames_;
  }
  Gfn base() const { return base_; }

 private:
  std::uint64_t frames_;
  Gfn base_;
  std::uint64_t count_ = 0;
  std::bitset<1 << 18> seen_;
};

}  // namespace vmem::vmm::balloon
