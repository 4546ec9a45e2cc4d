// A split virtqueue from the driver's side.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "virtio/chain.hpp"
#include "virtio/layout.hpp"
#include "virtio/memory.hpp"

namespace vmem::virtio {

/// Which descriptors are free is the driver's own knowledge, as in Linux; everything else is in guest memory. The rings
/// must read as zeros at first.
class DriverQueue {
 public:
  DriverQueue() = default;
  DriverQueue(const Rings& rings, bool event_index)
      : rings_(rings), event_index_(event_index), links_(rings.size), heads_(rings.size) {
    for (std::uint16_t i = 0; i < rings.size; ++i) links_[i] = static_cast<std::uint16_t>(i + 1);
    free_ = rings.size;
  }

  std::uint16_t free_descriptors() const { return free_; }
  const Rings& rings() const { return rings_; }

  /// Makes a request available: buffers the device reads, then those it writes. Returns its head; nothing if there are
  /// too few free descriptors.
  template <Memory M>
  std::optional<std::uint16_t> add(M& memory, std::span<const Buffer> readable, std::span<const Buffer> writable) {
    const std::size_t count = readable.size() + writable.size();
    if (count == 0 || count > free_) return std::nullopt;
    const std::uint16_t head = first_free_;
    std::uint16_t at = head;
    std::size_t left = count;
    const auto put = [&](const Buffer& buffer, std::uint16_t flags) {
      const bool last = --left == 0;
      const std::uint16_t next = links_[at];
      store(
          memory, rings_.descriptor(at),
          Descriptor{buffer.at.value, buffer.length, static_cast<std::uint16_t>(flags | (last ? 0 : Descriptor::kNext)),
                     last ? std::uint16_t{0} : next});
      if (last) {
        links_[at] = kLast;
        first_free_ = next;
      } else {
        at = next;
      }
    };
    for (const Buffer& buffer : readable) put(buffer, 0);
    for (const Buffer& buffer : writable) put(buffer, Descriptor::kWrite);
    free_ = static_cast<std::uint16_t>(free_ - count);
    publish(memory, head);
    return head;
  }
  /// The same through a table of its own at `table`, which takes one descriptor of the queue.
  template <Memory M>
  std::optional<std::uint16_t> add_indirect(M& memory, Gpa table, std::span<const Buffer> readable,
                                            std::span<const Buffer> writable) {
    if (free_ == 0) return std::nullopt;
    const std::size_t count = readable.size() + writable.size();
    for (std::size_t i = 0; i < count; ++i) {
      const bool in = i >= readable.size();
      const Buffer& buffer = in ? writable[i - readable.size()] : readable[i];
      const bool last = i + 1 == count;
      store(memory, table + 16 * i,
            Descriptor{buffer.at.value, buffer.length,
                       static_cast<std::uint16_t>((in ? Descriptor::kWrite : 0) | (last ? 0 : Descriptor::kNext)),
                       last ? std::uint16_t{0} : static_cast<std::uint16_t>(i + 1)});
    }
    const std::uint16_t head = first_free_;
    first_free_ = links_[head];
    links_[head] = kLast;
    --free_;
    store(memory, rings_.descriptor(head),
          Descriptor{table.value, static_cast<std::uint32_t>(16 * count), Descriptor::kIndirect, 0});
    publish(memory, head);
    return head;
  }
  /// Whether the device wants to be told of what was added since the last call.
  template <Memory M>
  bool must_notify(M& memory) {
    const std::uint16_t before = std::exchange(notified_, next_available_);
    if (before == next_available_) return false;
    if (!event_index_) {
      std::uint16_t flags = 0;
      load(memory, rings_.used_flags(), flags);
      return (flags & kNoNotify) == 0;
    }
    std::uint16_t event = 0;
    load(memory, rings_.available_event(), event);
    return passed(event, next_available_, before);
  }
  /// The next request that the device has finished with; its descriptors are free again. After the last one the device
  /// is asked for an interrupt at the next. A device that gives back what it was not given has nothing more to say
  /// (Linux's BAD_RING).
  template <Memory M>
  std::optional<UsedElement> take(M& memory) {
    std::uint16_t index = 0;
    load(memory, rings_.used_index(), index);
    if (index == next_used_) {
      if (event_index_) store(memory, rings_.used_event(), next_used_);
      return std::nullopt;
    }
    UsedElement element{};
    load(memory, rings_.used_entry(next_used_), element);
    broken_ = broken_ || element.id >= rings_.size || !heads_[element.id];
    if (broken_) return std::nullopt;
    ++next_used_;
    release(static_cast<std::uint16_t>(element.id));
    return element;
  }
  /// The device should interrupt, or need not: a hint.
  template <Memory M>
  void want_interrupts(M& memory, bool wanted) {
    if (event_index_) {
      // The position just passed comes round last.
      store(memory, rings_.used_event(), static_cast<std::uint16_t>(wanted ? next_used_ : next_used_ - 1));
    } else {
      store(memory, rings_.available_flags(), wanted ? std::uint16_t{0} : kNoInterrupt);
    }
  }

 private:
  static constexpr std::uint16_t kLast = 0xffff;

  template <Memory M>
  void publish(M& memory, std::uint16_t head) {
    heads_[head] = true;
    store(memory, rings_.available_entry(next_available_), head);
    store(memory, rings_.available_index(), ++next_available_);
  }
  void release(std::uint16_t head) {
    heads_[head] = false;
    std::uint16_t last = head;
    std::uint16_t count = 1;
    for (; links_[last] != kLast; ++count) last = links_[last];
    links_[last] = first_free_;
    first_free_ = head;
    free_ = static_cast<std::uint16_t>(free_ + count);
  }

  Rings rings_;
  bool event_index_ = false;
  std::vector<std::uint16_t> links_;  ///< of free descriptors, and of those in use within their chain
  std::vector<bool> heads_;           ///< requests that the device has
  bool broken_ = false;
  std::uint16_t first_free_ = 0, free_ = 0;
  std::uint16_t next_available_ = 0, next_used_ = 0, notified_ = 0;
};

}  // namespace vmem::virtio
