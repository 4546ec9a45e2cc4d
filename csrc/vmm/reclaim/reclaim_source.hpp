// Something that gets a guest to give memory back by itself: a balloon.
#pragma once

#include <cstdint>

namespace vmem::vmm {

class ReclaimSource {
 public:
  virtual ~ReclaimSource() = default;
  /// The guest is to give `frames` of those it holds now, instead of what was asked for before. Returns how many may be
  /// expected, which is less when it may not give so many. They come later, if at all.
  virtual std::uint64_t request(std::uint64_t frames) = 0;
  /// The host has enough again: what has not come need not.
  virtual void relax() = 0;
  /// What it gave by request and was not given back.
  virtual std::uint64_t given() const = 0;
  /// It may have so many of them back. Returns how many that are.
  virtual std::uint64_t give_back(std::uint64_t frames) = 0;
};

}  // namespace vmem::vmm
