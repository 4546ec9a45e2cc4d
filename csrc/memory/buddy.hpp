// The host's allocator of machine frames: a binary buddy system with blocks of 4 KiB to 1 GiB.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "core/address.hpp"
#include "memory/frame_table.hpp"

namespace vmem::memory {

/// Invariant: every free block is the head of one list, of its order; no two free buddies of the same order below the
/// largest coexist. Does not know bytes: scrubbing is the caller's (machine_memory.hpp).
class Buddy {
 public:
  static constexpr int kMaxOrder = 18;  ///< 1 GiB

  /// All frames of the table are free but the first `reserved` ones (at least one: hPFN 0 is the null link).
  Buddy(FrameTable& frames, std::uint64_t reserved);

  /// A block of 2^order frames, naturally aligned; nothing when no block is left. The caller sets use and owner.
  std::optional<Hfn> allocate(int order);
  /// The block of `order` that contains `hfn`, if it is free: splits what is around it.
  bool allocate_at(Hfn hfn, int order);
  /// Frees a block that was allocated, or part of one that `split` has cut.
  void free(Hfn head, int order);
  /// Turns an allocated block into 2^(order - to) blocks of order `to`, each with the head's use, owner and consecutive
  /// gfns.
  void split(Hfn head, int to);
  /// A run of `count` free frames aligned to 2^align_order, searched from low addresses; nothing when there is none.
  std::optional<Hfn> allocate_range(std::uint64_t count, int align_order);

  std::uint64_t free_frames() const { return free_frames_; }
  std::uint64_t free_blocks(int order) const { return blocks_[static_cast<std::size_t>(order)]; }
  bool has_free(int order) const;
  /// Throws InvariantError naming the first free block that breaks the invariant.
  void check() const;

 private:
  void push(Hfn head, int order);
  void remove(Hfn head, int order);
  void free_span(std::uint64_t first, std::uint64_t count);

  FrameTable& frames_;
  std::array<std::uint32_t, kMaxOrder + 1> heads_{};
  std::array<std::uint64_t, kMaxOrder + 1> blocks_{};
  std::uint64_t free_frames_ = 0;
};

}  // namespace vmem::memory
