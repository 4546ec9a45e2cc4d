// What a processor sees when it reads a physical address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vmem::hw {

/// A stretch of bytes that a walker reads entries from. An address outside it reads as all ones and ignores writes, as
/// a bus without a device does. Frames that hold tables have been written by whoever made the tables, so entry updates
/// here mark nothing.
struct PhysicalView {
  std::byte* base = nullptr;
  std::uint64_t size = 0;  ///< a multiple of 4 KiB

  bool contains(std::uint64_t pa) const { return pa < size; }
  /// `at` is a multiple of 8.
  std::uint64_t load(std::uint64_t at) const {
    if (!contains(at)) return ~std::uint64_t{0};
    std::uint64_t entry;
    std::memcpy(&entry, base + at, sizeof entry);
    return entry;
  }
  void store(std::uint64_t at, std::uint64_t entry) const {
    if (contains(at)) std::memcpy(base + at, &entry, sizeof entry);
  }
};

}  // namespace vmem::hw
