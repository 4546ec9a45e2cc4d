// A split virtqueue from the device's side, which believes nothing that it reads.
#pragma once

#include <cstdint>

#include "virtio/chain.hpp"
#include "virtio/layout.hpp"
#include "virtio/memory.hpp"

namespace vmem::virtio {

/// What a driver did that the standard forbids and after which the queue means nothing any more.
enum class QueueError : std::uint8_t {
  none,
  size,                ///< not a power of two from 1 to what the device allows
  alignment,           ///< a part of the queue is not aligned
  rings_outside,       ///< a part of the queue is not in guest memory
  index_jumped,        ///< more available than the queue has room for
  no_such_descriptor,  ///< a head or `next` beyond the table
  endless,             ///< a loop, or a chain longer than the queue
  empty_buffer,        ///< of length 0
  buffer_outside,      ///< not in guest memory, or its end overflows
  too_long,            ///< a chain of more than 2^32 bytes
  order,               ///< a buffer to be read after one to be written
  bad_indirect,        ///< not negotiated, nested, chained, or of a length that is no table
};

constexpr const char* text(QueueError error) {
  switch (error) {
    case QueueError::none:
      return "none";
    case QueueError::size:
      return "a queue size that is not a power of two within the device's";
    case QueueError::alignment:
      return "a queue that is not aligned";
    case QueueError::rings_outside:
      return "a queue outside guest memory";
    case QueueError::index_jumped:
      return "an available index that jumped";
    case QueueError::no_such_descriptor:
      return "a descriptor beyond the table";
    case QueueError::endless:
      return "a chain longer than the queue";
    case QueueError::empty_buffer:
      return "a buffer of length 0";
    case QueueError::buffer_outside:
      return "a buffer outside guest memory";
    case QueueError::too_long:
      return "a chain of more than 2^32 bytes";
    case QueueError::order:
      return "a readable buffer after a writable one";
    case QueueError::bad_indirect:
      return "an indirect descriptor that is no table";
  }
  return "unknown";
}

struct QueueFeatures {
  bool indirect = false;
  bool event_index = false;
};

/// Invariant: what it once called an error it goes on calling one until `start`. A descriptor is read once, so a driver
/// that changes it meanwhile gains nothing.
class DeviceQueue {
 public:
  /// The driver has made the queue ready. `contains(gpa, bytes)` is whether guest memory is there.
  template <class Contains>
  QueueError start(const Rings& rings, std::uint16_t max_size, const QueueFeatures& features, Contains&& contains) {
    *this = {};
    rings_ = rings;
    features_ = features;
    error_ = judge(rings, max_size, contains);
    ready_ = error_ == QueueError::none;
    return error_;
  }
  void stop() { *this = {}; }
  bool is_ready() const { return ready_; }
  const Rings& rings() const { return rings_; }
  QueueError error() const { return error_; }

  /// The next request. False: there is none, or the driver broke the queue (`error`).
  template <DeviceMemory M>
  bool pop(M& memory, Chain& chain) {
    if (!ready_ || error_ != QueueError::none) return false;
    std::uint16_t index = 0;
    if (!load(memory, rings_.available_index(), index)) return fail(QueueError::rings_outside);
    const auto waiting = static_cast<std::uint16_t>(index - next_available_);
    if (waiting == 0) {
      if (features_.event_index) store(memory, rings_.available_event(), next_available_);
      return false;
    }
    if (waiting > rings_.size) return fail(QueueError::index_jumped);
    if (!load(memory, rings_.available_entry(next_available_), chain.head)) return fail(QueueError::rings_outside);
    ++next_available_;
    chain.clear();
    return follow(memory, chain);
  }
  /// Gives a chain back. Whether the driver wants an interrupt for it.
  template <DeviceMemory M>
  bool push(M& memory, std::uint16_t head, std::uint32_t written) {
    store(memory, rings_.used_entry(next_used_), UsedElement{head, written});
    const std::uint16_t before = next_used_++;
    store(memory, rings_.used_index(), next_used_);
    if (!features_.event_index) {
      std::uint16_t flags = 0;
      load(memory, rings_.available_flags(), flags);
      return (flags & kNoInterrupt) == 0;
    }
    std::uint16_t event = 0;
    load(memory, rings_.used_event(), event);
    return passed(event, next_used_, before);
  }

 private:
  bool fail(QueueError error) {
    error_ = error;
    return false;
  }
  template <class Contains>
  static QueueError judge(const Rings& rings, std::uint16_t max_size, Contains& contains) {
    if (rings.size == 0 || rings.size > max_size || (rings.size & (rings.size - 1)) != 0) return QueueError::size;
    if (rings.descriptors.value % Rings::kDescriptorAlign != 0 || rings.used.value % Rings::kUsedAlign != 0 ||
        rings.available.value % Rings::kAvailableAlign != 0)
      return QueueError::alignment;
    if (!contains(rings.descriptors, rings.descriptor_bytes()) || !contains(rings.used, rings.used_bytes()) ||
        !contains(rings.available, rings.available_bytes()))
      return QueueError::rings_outside;
    return QueueError::none;
  }
  template <DeviceMemory M>
  bool follow(M& memory, Chain& chain) {
    Gpa table = rings_.descriptors;
    std::uint32_t entries = rings_.size;
    std::uint32_t at = chain.head;
    std::uint64_t bytes = 0;
    bool inside = false;  // the indirect table
    for (std::uint32_t seen = 0;; ++seen) {
      if (at >= entries) return fail(QueueError::no_such_descriptor);
      if (seen == rings_.size + (inside ? 1u : 0u)) return fail(QueueError::endless);
      Descriptor descriptor{};
      if (!load(memory, table + 16ull * at, descriptor)) return fail(QueueError::buffer_outside);
      if ((descriptor.flags & Descriptor::kIndirect) != 0) {
        if (!features_.indirect || inside || (descriptor.flags & Descriptor::kNext) != 0 || descriptor.length == 0 ||
            descriptor.length % sizeof(Descriptor) != 0)
          return fail(QueueError::bad_indirect);
        inside = true;
        table = Gpa{descriptor.address};
        entries = static_cast<std::uint32_t>(descriptor.length / sizeof(Descriptor));
        at = 0;
        continue;
      }
      if (!take(memory, descriptor, bytes, chain)) return false;
      if ((descriptor.flags & Descriptor::kNext) == 0) return true;
      at = descriptor.next;
    }
  }
  template <DeviceMemory M>
  bool take(M& memory, const Descriptor& descriptor, std::uint64_t& bytes, Chain& chain) {
    const bool writable = (descriptor.flags & Descriptor::kWrite) != 0;
    if (descriptor.length == 0) return fail(QueueError::empty_buffer);
    if (!memory.contains(Gpa{descriptor.address}, descriptor.length)) return fail(QueueError::buffer_outside);
    if (!writable && !chain.writable.empty()) return fail(QueueError::order);
    bytes += descriptor.length;
    if (bytes > 1ull << 32) return fail(QueueError::too_long);
    (writable ? chain.writable : chain.readable).push_back({Gpa{descriptor.address}, descriptor.length});
    return true;
  }

  Rings rings_;
  QueueFeatures features_;
  std::uint16_t next_available_ = 0, next_used_ = 0;
  QueueError error_ = QueueError::none;
  bool ready_ = false;
};

}  // namespace vmem::virtio
