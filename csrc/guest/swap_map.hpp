// The slots of the guest's swap space: which are free, who names them, which page in memory belongs to one.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/page_array.hpp"

namespace vmem::guest {

using SlotNumber = std::uint32_t;

/// Entries of a page table that name a slot: not present, bit 1 set, the slot in 51:12.
inline constexpr std::uint64_t kSwapEntry = 2;
constexpr std::uint64_t swap_entry(SlotNumber slot) { return std::uint64_t{slot} << kPageShift | kSwapEntry; }
constexpr SlotNumber slot_in(std::uint64_t entry) { return static_cast<SlotNumber>(entry >> kPageShift); }

/// Stateless but for where it looks next: slots are bytes in guest memory (layout.hpp). Slots are given out ascending,
/// cluster by cluster, so that pages evicted together lie together.
class SwapMap {
 public:
  static constexpr std::uint64_t kCluster = 256;  ///< SWAPFILE_CLUSTER
  static constexpr std::uint16_t kMostEntries = 0xfffe;

  /// Frames that the map of `slots` slots takes.
  static std::uint64_t frames_for(std::uint64_t slots);
  /// `memory`: as many frames, zeroed.
  void create(hw::Vcpu& vcpu, std::uint64_t slots, Gpa memory);

  bool exists() const { return slots_ != 0; }
  std::uint64_t slots() const { return slots_ == 0 ? 0 : slots_ - 1; }
  std::uint64_t free_slots(hw::Vcpu& vcpu) const { return exists() ? get<&SwapArea::free>(vcpu, SwapArea::kAt) : 0; }
  bool is_slot(SlotNumber slot) const { return slot != 0 && slot < slots_; }

  /// A free slot, which from now on belongs to the page.
  std::optional<SlotNumber> take(hw::Vcpu& vcpu, Gfn page);
  SwapSlot at(hw::Vcpu& vcpu, SlotNumber slot) const { return vcpu.load<SwapSlot>(entry(slot)); }
  /// One more page-table entry names it; one fewer. Without entries and page it is free.
  void add_entry(hw::Vcpu& vcpu, SlotNumber slot) const;
  void drop_entry(hw::Vcpu& vcpu, SlotNumber slot);
  void set_page(hw::Vcpu& vcpu, SlotNumber slot, Gfn page) const;
  void drop_page(hw::Vcpu& vcpu, SlotNumber slot);
  void set_flags(hw::Vcpu& vcpu, SlotNumber slot, std::uint16_t flags) const {
    set<&SwapSlot::flags>(vcpu, entry(slot), flags);
  }
  void set_evicted(hw::Vcpu& vcpu, SlotNumber slot, std::uint32_t age) const {
    set<&SwapSlot::evicted>(vcpu, entry(slot), age);
  }
  /// Throws InvariantError if the counts of free slots are wrong.
  void check(hw::Vcpu& vcpu) const;

 private:
  Gpa entry(SlotNumber slot) const { return map_ + std::uint64_t{slot} * sizeof(SwapSlot); }
  Gpa cluster_entry(std::uint64_t cluster) const { return clusters_ + cluster * 4; }
  void store_and_free_if_unused(hw::Vcpu& vcpu, SlotNumber slot, const SwapSlot& value);
  void count(hw::Vcpu& vcpu, SlotNumber slot, bool freed) const;

  std::uint64_t slots_ = 0;
  Gpa map_, clusters_;
  std::uint64_t next_ = 1;
};

}  // namespace vmem::guest
