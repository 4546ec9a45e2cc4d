// The guest kernel's page allocator: zones, their watermarks, and the per-CPU lists before them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "guest/boot_parameters.hpp"
#include "guest/buddy.hpp"
#include "guest/page_array.hpp"
#include "guest/watermark.hpp"

namespace vmem::guest {

/// What an allocation may do when memory is short.
enum class Need : std::uint8_t {
  patient,    ///< reclaims as long as that helps (GFP_KERNEL)
  once,       ///< one round of reclaim and no more (__GFP_NORETRY)
  modest,     ///< no reclaim of its own; there is another way (a huge page)
  spare,      ///< what is free above the min watermark, and no reclaim for it by anybody (no __GFP_RECLAIM)
  desperate,  ///< digs into the reserves and reclaims nothing: reclaim's own (PF_MEMALLOC)
};

/// Whoever frees memory when it gets short.
class Pressure {
 public:
  /// A zone has fallen below its low watermark.
  virtual void on_low_memory(hw::Vcpu& vcpu) = 0;
  /// An allocation of 2^order frames found every zone at its min watermark. Returns the frames freed.
  virtual std::uint64_t reclaim(hw::Vcpu& vcpu, int order) = 0;

 protected:
  ~Pressure() = default;
};

/// Hears of every block that is freed, before anybody else can have it.
class FreeListener {
 public:
  virtual ~FreeListener() = default;
  /// True: it keeps the block, and gives it back by PageAllocator::give.
  virtual bool on_free(hw::Vcpu& vcpu, Gfn gfn, int order) = 0;
  /// Memory is short: what it keeps is to be given back.
  virtual void flush(hw::Vcpu& vcpu) = 0;
};

/// Whoever wants to know of large free blocks.
class FreeObserver {
 public:
  /// A frame that was freed is now part of a free block of at least the order asked for.
  virtual void on_large_block() = 0;

 protected:
  ~FreeObserver() = default;
};

/// Of one zone; frames.
struct ZoneInfo {
  const char* name = "";
  std::uint64_t managed = 0, free = 0;
  Watermarks marks;
  std::array<std::uint64_t, kZones> reserve{};  ///< Linux's protection
  std::uint64_t per_cpu = 0;                    ///< in per-CPU lists
  std::array<std::uint64_t, kOrders> blocks{};  ///< Linux's buddyinfo; those above the frontier are not in a list
};

class PageAllocator {
 public:
  /// Puts the frames from `first` to `end` under the allocator.
  PageAllocator(hw::Vcpu& boot, std::uint64_t first, std::uint64_t end, std::size_t vcpus);

  void relieve_with(Pressure& pressure) { pressure_ = &pressure; }
  /// From now on every page that is freed is filled.
  void fill_freed(OnFree with) { on_free_ = with; }
  void tell_of_blocks(FreeObserver& observer, int order) {
    observer_ = &observer;
    observed_order_ = order;
  }

  /// A block of 2^order frames, 0 to kMaxOrder; nothing when none is to be had.
  std::optional<Gfn> allocate(hw::Vcpu& vcpu, int order, PageUse use, Need need = Need::patient);
  /// A naturally aligned run of 2^order frames beyond kMaxOrder, from untouched memory only.
  std::optional<Gfn> allocate_gigantic(hw::Vcpu& vcpu, int order, PageUse use);
  /// Any number of frames in a row, for good; more than a block holds from untouched memory only.
  std::optional<Gfn> allocate_span(hw::Vcpu& vcpu, std::uint64_t frames, PageUse use);
  void free(hw::Vcpu& vcpu, Gfn gfn, int order) {
    if (listener_ == nullptr || !listener_->on_free(vcpu, gfn, order)) give(vcpu, gfn, order);
  }
  /// As `free`, and nobody hears of it.
  void give(hw::Vcpu& vcpu, Gfn gfn, int order);
  void tell_of_frees(FreeListener& listener) { listener_ = &listener; }
  /// Gives what the per-CPU lists hold back to the zones.
  void drain(hw::Vcpu& vcpu);

  /// Frames that nobody has, those in per-CPU lists among them.
  std::uint64_t free_frames(hw::Vcpu& vcpu) const { return zone_free_frames(vcpu) + per_cpu_frames(vcpu); }
  /// As Linux counts MemFree: without those in per-CPU lists.
  std::uint64_t zone_free_frames(hw::Vcpu& vcpu) const;
  std::uint64_t managed_frames(hw::Vcpu& vcpu) const;
  /// The frames are no longer (-1), or again (1), the allocator's to give: MemTotal.
  void adjust_managed(hw::Vcpu& vcpu, std::span<const Gfn> frames, std::int64_t by) const;
  /// Every zone has its high watermark free.
  bool is_balanced(hw::Vcpu& vcpu) const;
  std::uint64_t low_watermark() const;
  std::uint64_t total_reserve() const { return total_reserve_; }
  /// While reclaim is under way, per-CPU lists stay short.
  void set_reclaiming(bool is_reclaiming) { is_reclaiming_ = is_reclaiming; }

  /// Zones that have frames, as /proc/zoneinfo and /proc/buddyinfo.
  std::vector<ZoneInfo> zoneinfo(hw::Vcpu& vcpu) const;
  int zone_of(Gfn gfn) const;
  /// The frame is the allocator's to give.
  bool manages(Gfn gfn) const;
  Buddy buddy(int zone) const { return Buddy(zone_entry(zone)); }
  const Watermarks& watermarks(int zone) const { return zones_[static_cast<std::size_t>(zone)].marks; }
  /// Throws InvariantError if lists, counts and page entries disagree.
  void check(hw::Vcpu& vcpu) const;

 private:
  struct ZoneLimits {
    std::uint64_t first = 0, end = 0;
    Watermarks marks;
    std::uint64_t reserve = 0;  ///< kept from ordinary allocations, which could use the topmost zone
    PerCpuLimits per_cpu;
  };
  enum class Mark : std::uint8_t { none, min, low };

  std::optional<Gfn> allocate_above(hw::Vcpu& vcpu, int order, PageUse use, Mark mark);
  std::optional<Gfn> allocate_slowly(hw::Vcpu& vcpu, int order, PageUse use, Need need);
  bool is_above(hw::Vcpu& vcpu, int zone, int order, Mark mark) const;
  std::optional<Gfn> take_span(hw::Vcpu& vcpu, int zone, std::uint64_t frames, PageUse use) const;
  std::optional<Gfn> take_single(hw::Vcpu& vcpu, int zone, PageUse use);
  bool refill(hw::Vcpu& vcpu, int zone, PerCpuPages& list);
  void spill(hw::Vcpu& vcpu, int zone, PerCpuPages& list, std::uint64_t frames) const;
  void give(hw::Vcpu& vcpu, int zone, Gfn gfn, int order) const;
  void fill(hw::Vcpu& vcpu, Gfn gfn, int order) const;
  std::uint64_t per_cpu_frames(hw::Vcpu& vcpu) const;
  static Gpa list_entry(std::size_t vcpu, int zone) {
    return PerCpuPages::kAt + (vcpu * kZones + static_cast<std::size_t>(zone)) * sizeof(PerCpuPages);
  }

  std::array<ZoneLimits, kZones> zones_;
  int top_ = 0;  ///< topmost zone that has frames
  std::size_t vcpus_;
  std::uint64_t total_reserve_ = 0;
  bool is_reclaiming_ = false;
  Pressure* pressure_ = nullptr;
  FreeListener* listener_ = nullptr;
  OnFree on_free_ = OnFree::keep;
  FreeObserver* observer_ = nullptr;
  int observed_order_ = 0;
};

}  // namespace vmem::guest
