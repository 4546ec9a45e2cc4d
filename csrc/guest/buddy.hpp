// The guest kernel's page allocator: a binary buddy system whose lists and counts are bytes in guest memory.
#pragma once

#include <cstdint>
#include <optional>

#include "core/address.hpp"
#include "guest/layout.hpp"
#include "hw/vcpu.hpp"

namespace vmem::guest {

/// Stateless: everything it knows is in guest memory (layout.hpp). Frames above the frontier are free without being in
/// a list, as with Linux's deferred initialisation of struct page, so that a big guest costs nothing before it uses its
/// memory.
class Buddy {
 public:
  /// Puts [first, end) under the allocator.
  static void initialise(hw::Vcpu& vcpu, Gfn first, Gfn end);

  /// A block of 2^order frames, 0 to kMaxOrder; nothing when none is left.
  static std::optional<Gfn> allocate(hw::Vcpu& vcpu, int order, PageUse use);
  /// A naturally aligned run of 2^order frames beyond kMaxOrder, from untouched memory only; nothing when there is
  /// none.
  static std::optional<Gfn> allocate_gigantic(hw::Vcpu& vcpu, int order, PageUse use);
  static void free(hw::Vcpu& vcpu, Gfn gfn, int order);
  /// Makes a block of `order` into single frames of the same use, each with the block's reference count.
  static void split(hw::Vcpu& vcpu, Gfn gfn, int order);
  static std::uint64_t free_frames(hw::Vcpu& vcpu);
  /// Throws InvariantError if lists, counts and page entries disagree.
  static void check(hw::Vcpu& vcpu);

 private:
  static void push(hw::Vcpu& vcpu, Gfn gfn, int order);
  static void remove(hw::Vcpu& vcpu, Gfn gfn, int order);
  static bool is_free_head(hw::Vcpu& vcpu, Gfn gfn, int order);
  static void merge_and_push(hw::Vcpu& vcpu, Gfn gfn, int order);
  static void push_span(hw::Vcpu& vcpu, std::uint64_t first, std::uint64_t end);
  static bool advance_frontier(hw::Vcpu& vcpu);
  static void take(hw::Vcpu& vcpu, Gfn gfn, int order, PageUse use);
};

}  // namespace vmem::guest
