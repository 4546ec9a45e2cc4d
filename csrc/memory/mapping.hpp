// An anonymous mapping of the simulator's own address space that costs nothing until it is written.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmem::memory {

/// Owns one MAP_NORESERVE mapping; reads as zeros until written. Throws OutOfMemory when the address space has no room.
class LazyMapping {
 public:
  explicit LazyMapping(std::uint64_t bytes);
  ~LazyMapping();
  LazyMapping(const LazyMapping&) = delete;
  LazyMapping& operator=(const LazyMapping&) = delete;

  std::byte* data() const { return data_; }
  std::uint64_t size() const { return size_; }
  /// Gives [offset, offset + bytes) back to the operating system; it reads as zeros afterwards. Both multiples of 4
  /// KiB.
  void release(std::uint64_t offset, std::uint64_t bytes);

 private:
  std::byte* data_;
  std::uint64_t size_;
};

}  // namespace vmem::memory
