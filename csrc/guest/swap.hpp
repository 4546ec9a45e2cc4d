// The guest's swap space: pages go to slots of a disk and come back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "guest/block_driver.hpp"
#include "guest/page_store.hpp"
#include "guest/swap_map.hpp"
#include "guest/vmstat.hpp"

namespace vmem::guest {

/// A page in the swap cache is in memory and has a slot: it is flagged kSwapCache, and the slot knows it. What the disk
/// holds are its bytes unless it is dirty.
class Swap final : public PageStore {
 public:
  /// A page has been written, or could not be.
  using Written = std::function<void(hw::Vcpu&, Gfn, bool ok)>;

  Swap(PageAllocator& pages, VmStat& vmstat) : pages_(pages), vmstat_(vmstat) {}

  /// The disk is a swap space: its first page ends with the signature that mkswap writes.
  static bool is_swap_space(hw::Vcpu& vcpu, PageAllocator& pages, BlockDriver& disk);
  /// swapon. False: no room in memory for the map of its slots.
  bool use(hw::Vcpu& vcpu, BlockDriver& disk, Written written);

  bool exists() const { return map_.exists(); }
  SwapMap& map() { return map_; }
  const SwapMap& map() const { return map_; }
  std::uint64_t cached() const { return cached_; }
  std::uint64_t in_flight() const override { return in_flight_; }

  /// Gives an anonymous page of 4 KiB a slot. False: none is free.
  bool add(hw::Vcpu& vcpu, Gfn gfn);
  /// Takes it out of the swap cache; the slot is free if no entry names it.
  void remove(hw::Vcpu& vcpu, Gfn gfn);
  /// Whether pages of zeros are looked for, as in Linux from 6.12 on.
  void set_detects_zeros(bool detects) { detects_zeros_ = detects; }
  bool detects_zeros() const { return detects_zeros_; }
  /// A page of zeros that is found takes no write; `written` hears of every other.
  bool write(hw::Vcpu& vcpu, Gfn gfn) override;
  void start_writes(hw::Vcpu& vcpu) override;
  bool wait_for_write(hw::Vcpu& vcpu) override;
  void evict(hw::Vcpu& vcpu, Gfn gfn, std::uint32_t age) override;
  /// The page of a slot, read into a new page of the swap cache if it is not in memory; nobody maps it yet, but it has
  /// one reference, the caller's. Nothing: no memory, or the disk failed (`failed`).
  struct Read {
    std::optional<Gfn> page;
    bool is_major = false;  ///< the disk was read
    bool failed = false;
  };
  Read read(hw::Vcpu& vcpu, SlotNumber slot);

 private:
  static constexpr std::uint64_t kSectorsPerSlot = kPageSize >> virtio::block::kSectorShift;
  std::uint64_t sector_of(SlotNumber slot) const { return slot * kSectorsPerSlot; }
  void on_written(hw::Vcpu& vcpu, const std::vector<Gfn>& pages, bool ok);

  PageAllocator& pages_;
  VmStat& vmstat_;
  SwapMap map_;
  BlockDriver* disk_ = nullptr;
  Written written_;
  std::vector<Gfn> gathered_;  ///< to be written: their slots follow each other
  SlotNumber first_gathered_ = 0;
  std::uint64_t cached_ = 0, in_flight_ = 0;
  bool detects_zeros_ = true;
};

}  // namespace vmem::guest
