// The split virtqueue as bytes in guest memory (virtio 1.2, 2.7).
#pragma once

#include <cstdint>

#include "core/address.hpp"

namespace vmem::virtio {

inline constexpr std::uint16_t kMaxQueueSize = 32768;

struct Descriptor {
  static constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;

  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags;
  std::uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);

struct UsedElement {
  std::uint32_t id;      ///< head of the chain
  std::uint32_t length;  ///< bytes that the device wrote
};
static_assert(sizeof(UsedElement) == 8);

/// Available ring, flags: the driver wants no interrupts. Used ring, flags: the device wants no notifications.
inline constexpr std::uint16_t kNoInterrupt = 1, kNoNotify = 1;

/// Where the parts of one queue lie. Positions run freely and wrap at 2^16.
struct Rings {
  std::uint16_t size = 0;  ///< a power of two up to kMaxQueueSize
  Gpa descriptors, available, used;

  static constexpr std::uint64_t kDescriptorAlign = 16, kAvailableAlign = 2, kUsedAlign = 4;
  constexpr std::uint64_t descriptor_bytes() const { return 16ull * size; }
  constexpr std::uint64_t available_bytes() const { return 6 + 2ull * size; }
  constexpr std::uint64_t used_bytes() const { return 6 + 8ull * size; }

  constexpr Gpa descriptor(std::uint16_t index) const { return descriptors + 16ull * index; }
  constexpr Gpa available_flags() const { return available; }
  constexpr Gpa available_index() const { return available + 2; }
  constexpr Gpa available_entry(std::uint16_t position) const { return available + 4 + 2ull * (position % size); }
  constexpr Gpa used_event() const { return available + 4 + 2ull * size; }
  constexpr Gpa used_flags() const { return used; }
  constexpr Gpa used_index() const { return used + 2; }
  constexpr Gpa used_entry(std::uint16_t position) const { return used + 4 + 8ull * (position % size); }
  constexpr Gpa available_event() const { return used + 4 + 8ull * size; }

  /// A queue of `count` descriptors in one piece from `at`, a multiple of 16; `bytes_for` are taken.
  static constexpr Rings in_one_piece(Gpa at, std::uint16_t count) {
    Rings rings{count, at, {}, {}};
    rings.available = at + rings.descriptor_bytes();
    rings.used = {align_up(rings.available.value + rings.available_bytes(), kUsedAlign)};
    return rings;
  }
  static constexpr std::uint64_t bytes_for(std::uint16_t count) {
    const Rings rings = in_one_piece({}, count);
    return rings.used.value + rings.used_bytes();
  }
};

/// Whether going from `before` to `now` passed the position at which the other side wants to hear of it (2.7.10).
constexpr bool passed(std::uint16_t event, std::uint16_t now, std::uint16_t before) {
  return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - before);
}

}  // namespace vmem::virtio
