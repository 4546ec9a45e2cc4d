// How long a guest takes to reach the targets of its balloon.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/clock.hpp"

namespace vmem::vmm::balloon {

/// Of targets in one direction. A way to a target ends when `actual` has reached it, or when another target comes.
struct Resizes {
  std::uint64_t reached = 0;
  std::uint64_t given_up = 0;  ///< another target came before
  std::uint64_t pages = 0;     ///< by which `actual` moved on all of these ways
  Nanoseconds time = 0;        ///< that they took together
  Nanoseconds longest = 0;     ///< of one that was reached
};

/// Is told of every target and every change of `actual`, both in pages that are in the balloon.
class ResizeMeter {
 public:
  void on_target(Nanoseconds now, std::uint64_t target, std::uint64_t actual) {
    if (is_open_ && target == target_) return;
    if (is_open_) close(now, actual, false);
    if (target == actual) return;
    is_open_ = true;
    began_ = now;
    from_ = actual;
    target_ = target;
  }
  void on_actual(Nanoseconds now, std::uint64_t actual) {
    if (is_open_ && (target_ > from_ ? actual >= target_ : actual <= target_)) close(now, actual, true);
  }
  /// The guest gives memory up.
  const Resizes& shrinking() const { return shrinking_; }
  /// It gets memory back.
  const Resizes& growing() const { return growing_; }

 private:
  void close(Nanoseconds now, std::uint64_t actual, bool is_reached) {
    Resizes& way = target_ > from_ ? shrinking_ : growing_;
    is_open_ = false;
    const Nanoseconds took = now - std::min(now, began_);
    // An actual that went the other way, in a guest short of memory, is no progress.
    way.pages += target_ > from_ ? actual - std::min(actual, from_) : from_ - std::min(actual, from_);
    way.time += took;
    ++(is_reached ? way.reached : way.given_up);
    if (is_reached) way.longest = std::max(way.longest, took);
  }

  bool is_open_ = false;
  Nanoseconds began_ = 0;
  std::uint64_t from_ = 0, target_ = 0;
  Resizes shrinking_, growing_;
};

}  // namespace vmem::vmm::balloon
