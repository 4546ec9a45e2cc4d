// What one request is made of: a chain of buffers, those the device reads before those it writes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "virtio/memory.hpp"

namespace vmem::virtio {

struct Buffer {
  Gpa at;
  std::uint32_t length = 0;  ///< bytes
};

struct Chain {
  std::uint16_t head = 0;
  std::vector<Buffer> readable, writable;  ///< by the device

  void clear() {
    readable.clear();
    writable.clear();
  }
};

constexpr std::uint64_t total_bytes(std::span<const Buffer> buffers) {
  std::uint64_t sum = 0;
  for (const Buffer& buffer : buffers) sum += buffer.length;
  return sum;
}

/// The buffers of one direction as a stream of bytes: how a message is cut into descriptors means nothing (2.7.4).
class Stream {
 public:
  explicit Stream(std::span<const Buffer> buffers) : buffers_(buffers), left_(total_bytes(buffers)) {}

  std::uint64_t left() const { return left_; }
  /// False: fewer bytes are left, or the memory refuses.
  bool read(Memory auto& memory, std::span<std::byte> out) {
    return each(out.size(), [&](Gpa at, std::uint64_t from, std::uint64_t count) {
      return memory.read(at, out.subspan(from, count));
    });
  }
  bool write(Memory auto& memory, std::span<const std::byte> bytes) {
    return each(bytes.size(), [&](Gpa at, std::uint64_t from, std::uint64_t count) {
      return memory.write(at, bytes.subspan(from, count));
    });
  }
  /// Calls `use(at, offset, count)` for the pieces of the next `bytes` bytes until it returns false.
  template <class Use>
  bool each(std::uint64_t bytes, Use&& use) {
    if (bytes > left_) return false;
    left_ -= bytes;
    for (std::uint64_t done = 0; done < bytes;) {
      const Buffer& buffer = buffers_.front();
      const std::uint64_t part = std::min<std::uint64_t>(buffer.length - offset_, bytes - done);
      if (!use(buffer.at + offset_, done, part)) return false;
      done += part;
      offset_ += part;
      if (offset_ < buffer.length) continue;
      offset_ = 0;
      buffers_ = buffers_.subspan(1);
    }
    return true;
  }

 private:
  std::span<const Buffer> buffers_;
  std::uint64_t left_;
  std::uint64_t offset_ = 0;  ///< in the first of `buffers_`
};

}  // namespace vmem::virtio
