// The guest kernel's page allocator: a binary buddy system whose lists and counts are bytes in guest memory.
#pragma once

#include <cstdint>
#include <optional>

#include "core/address.hpp"
#include "guest/page_array.hpp"
#include "hw/vcpu.hpp"

namespace vmem::guest {

/// One zone's. Everything it knows is in guest memory (layout.hpp), at the Zone. Frames above the frontier are free
/// without being in a list, as with Linux's deferred initialisation of struct page, so that a big guest costs nothing
/// before it uses its memory.
class Buddy {
 public:
  explicit Buddy(Gpa zone) : zone_(zone) {}

  /// Puts [first, end) under the allocator.
  void initialise(hw::Vcpu& vcpu, Gfn first, Gfn end) const;

  /// A block of 2^order frames, 0 to kMaxOrder; nothing when none is left.
  std::optional<Gfn> allocate(hw::Vcpu& vcpu, int order, PageUse use) const;
  /// A naturally aligned run of 2^order frames beyond kMaxOrder, from untouched memory only; nothing when there is
  /// none.
  std::optional<Gfn> allocate_gigantic(hw::Vcpu& vcpu, int order, PageUse use) const;
  /// Any number of frames in a row, from untouched memory only. They are never freed.
  std::optional<Gfn> allocate_span(hw::Vcpu& vcpu, std::uint64_t frames, PageUse use) const;
  /// Returns the order of the free block that it has become part of.
  int free(hw::Vcpu& vcpu, Gfn gfn, int order) const;
  /// Makes a block of `order` into single frames of the same use, each with the block's owner, flags and reference
  /// count.
  static void split(hw::Vcpu& vcpu, Gfn gfn, int order);
  std::uint64_t free_frames(hw::Vcpu& vcpu) const;

  /// The first free block of an order, and the one after another; 0: none. What is above the frontier is in no list.
  Gfn first_free(hw::Vcpu& vcpu, int order) const { return Gfn{get<&FreeArea::head>(vcpu, area_entry(zone_, order))}; }
  static Gfn next_free(hw::Vcpu& vcpu, Gfn block) { return Gfn{get<&Page::next>(vcpu, page_entry(block))}; }
  /// Blocks of an order that are free, those above the frontier included.
  std::uint64_t free_blocks(hw::Vcpu& vcpu, int order) const;
  /// __isolate_free_page: the block is neither free nor in use until it is put back.
  void isolate(hw::Vcpu& vcpu, Gfn block, int order) const;
  /// Isolated before: at the end of its list again, to be used last. Returns its order, larger if it has merged.
  int put_back(hw::Vcpu& vcpu, Gfn block, int order) const;
  /// list_rotate_to_front: the list begins with `block`, what was before it comes last.
  void rotate_to_front(hw::Vcpu& vcpu, Gfn block, int order) const;
  /// The host knows that the block is free. Forgotten when the block leaves its list, by allocation or by merging.
  static bool is_reported(hw::Vcpu& vcpu, Gfn block);
  static void set_reported(hw::Vcpu& vcpu, Gfn block);

  /// Throws InvariantError if lists, counts and page entries disagree.
  void check(hw::Vcpu& vcpu) const;

 private:
  void push(hw::Vcpu& vcpu, Gfn gfn, int order) const;
  void push_back(hw::Vcpu& vcpu, Gfn gfn, int order) const;
  void remove(hw::Vcpu& vcpu, Gfn gfn, int order) const;
  static bool is_free_head(hw::Vcpu& vcpu, Gfn gfn, int order);
  struct Block {
    Gfn first;
    int order;
  };
  /// Takes free buddies out of their lists as long as there is one.
  Block merge(hw::Vcpu& vcpu, Block block) const;
  void push_span(hw::Vcpu& vcpu, std::uint64_t first, std::uint64_t end) const;
  bool advance_frontier(hw::Vcpu& vcpu) const;
  void take(hw::Vcpu& vcpu, Gfn gfn, int order, PageUse use) const;

  Gpa zone_;
};

}  // namespace vmem::guest
