// What a processor sees when it reads a physical address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vmem::hw {

/// Whatever answers physical addresses that are not plain bytes. Addresses are multiples of 8.
class PhysicalBus {
 public:
  virtual ~PhysicalBus() = default;
  virtual std::uint64_t load(std::uint64_t at) = 0;
  virtual void store(std::uint64_t at, std::uint64_t entry) = 0;
};

/// A stretch of bytes that a walker reads entries from. An address outside it goes to the bus; without one it reads as
/// all ones and ignores writes. Frames that hold tables have been written by whoever made the tables, so entry updates
/// here mark nothing.
struct PhysicalView {
  std::byte* base = nullptr;
  std::uint64_t size = 0;  ///< a multiple of 4 KiB
  PhysicalBus* bus = nullptr;

  bool contains(std::uint64_t pa) const { return pa < size; }
  /// `at` is a multiple of 8.
  std::uint64_t load(std::uint64_t at) const {
    if (!contains(at)) [[unlikely]]
      return bus == nullptr ? ~std::uint64_t{0} : bus->load(at);
    std::uint64_t entry;
    std::memcpy(&entry, base + at, sizeof entry);
    return entry;
  }
  /// Asks for what a load will want, without waiting.
  void prefetch(std::uint64_t at) const {
    if (contains(at)) __builtin_prefetch(base + at);
  }
  void store(std::uint64_t at, std::uint64_t entry) const {
    if (contains(at)) [[likely]]
      std::memcpy(base + at, &entry, sizeof entry);
    else if (bus != nullptr)
      bus->store(at, entry);
  }
};

}  // namespace vmem::hw
