// Machine memory: bytes, frames and their allocator under one roof, so that no frame changes hands unscrubbed.
#pragma once

#include <optional>

#include "memory/buddy.hpp"
#include "memory/frame_table.hpp"
#include "memory/physical_memory.hpp"

namespace vmem::memory {

/// The host's RAM. Invariant: a free frame reads as zeros, so an allocated one never shows its previous owner's bytes.
class MachineMemory {
 public:
  explicit MachineMemory(std::uint64_t bytes) : bytes_(bytes), frames_(bytes_.frames()), buddy_(frames_, 1) {}

  PhysicalMemory& bytes() { return bytes_; }
  const PhysicalMemory& bytes() const { return bytes_; }
  Frame& frame(Hfn hfn) { return frames_[hfn]; }
  const Frame& frame(Hfn hfn) const { return frames_[hfn]; }
  Buddy& buddy() { return buddy_; }
  const Buddy& buddy() const { return buddy_; }

  /// A block of 2^order zeroed frames for `owner`; nothing when there is none.
  std::optional<Hfn> allocate(int order, FrameUse use, std::uint16_t owner) {
    const auto head = buddy_.allocate(order);
    if (head) {
      frames_[*head].use = use;
      frames_[*head].owner = owner;
      used_by_[static_cast<std::size_t>(use)] += 1ull << order;
    }
    return head;
  }
  /// An allocated block changes hands with its bytes.
  void hand_over(Hfn head, FrameUse use, std::uint16_t owner) {
    Frame& frame = frames_[head];
    used_by_[static_cast<std::size_t>(frame.use)] -= 1ull << frame.order;
    used_by_[static_cast<std::size_t>(use)] += 1ull << frame.order;
    frame.use = use;
    frame.owner = owner;
  }
  /// Scrubs and frees a block.
  void free(Hfn head) {
    const Frame frame = frames_[head];
    used_by_[static_cast<std::size_t>(frame.use)] -= 1ull << frame.order;
    bytes_.scrub(head.value, 1ull << frame.order);
    buddy_.free(head, frame.order);
  }
  /// A run of zeroed frames outside the block structure (a native machine's RAM); nothing when there is none.
  std::optional<Hfn> allocate_range(std::uint64_t count, int align_order, FrameUse use, std::uint16_t owner) {
    const auto first = buddy_.allocate_range(count, align_order);
    if (first) {
      for_each_block(*first, count, [&](Hfn head) {
        frames_[head].use = use;
        frames_[head].owner = owner;
      });
      used_by_[static_cast<std::size_t>(use)] += count;
    }
    return first;
  }
  void free_range(Hfn first, std::uint64_t count) {
    for_each_block(first, count, [&](Hfn head) { free(head); });
  }

  std::uint64_t used(FrameUse use) const { return used_by_[static_cast<std::size_t>(use)]; }

 private:
  template <class Visit>
  void for_each_block(Hfn first, std::uint64_t count, Visit&& visit) {
    for (std::uint64_t at = first.value; at < first.value + count;) {
      const std::uint64_t length = 1ull << frames_[Hfn{at}].order;
      visit(Hfn{at});
      at += length;
    }
  }

  PhysicalMemory bytes_;
  FrameTable frames_;
  Buddy buddy_;
  std::array<std::uint64_t, kFrameUses> used_by_{};
};

}  // namespace vmem::memory
