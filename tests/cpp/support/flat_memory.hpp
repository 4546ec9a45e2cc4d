// Guest memory as an array, for queues without a machine around them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "virtio/memory.hpp"

namespace vmem::test {

class FlatMemory {
 public:
  explicit FlatMemory(std::uint64_t bytes) : bytes_(bytes) {}

  bool contains(Gpa at, std::uint64_t bytes) const {
    return at.value <= bytes_.size() && bytes <= bytes_.size() - at.value;
  }
  bool read(Gpa at, std::span<std::byte> out) {
    if (!contains(at, out.size())) return false;
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at.value), out.size(), out.begin());
    return true;
  }
  bool write(Gpa at, std::span<const std::byte> bytes) {
    if (!contains(at, bytes.size())) return false;
    std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at.value));
    return true;
  }
  std::uint64_t number(std::uint64_t at, int bytes) const {
    std::uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; --i)
      value = value << 8 | std::to_integer<std::uint64_t>(bytes_[at + static_cast<std::uint64_t>(i)]);
    return value;
  }

 private:
  std::vector<std::byte> bytes_;
};
static_assert(virtio::DeviceMemory<FlatMemory>);

}  // namespace vmem::test
