// How the guest kernel gets pages back from processes and files: kswapd and direct reclaim, as Linux 6.1's vmscan.c.
#pragma once

#include <array>
#include <cstdint>

#include "guest/lru.hpp"
#include "guest/mappings.hpp"
#include "guest/page_store.hpp"
#include "guest/psi.hpp"
#include "guest/shrinker.hpp"
#include "guest/swap.hpp"
#include "guest/timers.hpp"

namespace vmem::guest {

class Reclaim final : public Pressure {
 public:
  static constexpr std::uint64_t kCluster = 32;     ///< SWAP_CLUSTER_MAX
  static constexpr int kPriority = 12;              ///< DEF_PRIORITY: at first 1/4096 of a list is looked at
  static constexpr std::uint64_t kSwappiness = 60;  ///< vm.swappiness

  Reclaim(PageAllocator& pages, Mappings& mappings, Cpus& cpus, Swap& swap, Timers& timers, Psi& psi, VmStat& vmstat);

  /// Memory that it may ask for besides.
  void add_shrinker(Shrinker& shrinker) { shrinker_ = &shrinker; }
  /// Where file pages go; without one they stay.
  void keep_files_in(PageStore& files) { files_ = &files; }

  void on_low_memory(hw::Vcpu& vcpu) override;
  std::uint64_t reclaim(hw::Vcpu& vcpu, int order) override;

  /// A write of the page has ended.
  void on_written(hw::Vcpu& vcpu, Gfn gfn, bool ok);
  /// A page that had been evicted is in memory again, and not in a list yet: it is active if it had not been away for
  /// longer than the active pages take to be used.
  void on_refault(hw::Vcpu& vcpu, Gfn gfn, std::uint32_t evicted);
  /// Puts a page that reclaim has not seen into its list.
  static void enlist(hw::Vcpu& vcpu, Gfn gfn) { Lru::add(vcpu, gfn); }

 private:
  enum class Verdict : std::uint8_t { reclaimed, writing, kept, activated };
  using Counts = std::array<std::uint64_t, kLruLists>;

  void run_kswapd(hw::Vcpu& vcpu);
  void shrink(hw::Vcpu& vcpu, int priority, std::uint64_t target);
  Counts scan_counts(hw::Vcpu& vcpu, int priority) const;
  void shrink_inactive(hw::Vcpu& vcpu, LruKind kind, std::uint64_t count);
  void shrink_active(hw::Vcpu& vcpu, LruKind kind, std::uint64_t count);
  static bool is_inactive_low(hw::Vcpu& vcpu, bool file);
  bool can_swap(hw::Vcpu& vcpu) const;

  Verdict reclaim_page(hw::Vcpu& vcpu, Gfn gfn);
  /// Takes note of accesses since the last time. Returns the entries that show one.
  std::uint64_t take_accesses(hw::Vcpu& vcpu, Gfn gfn);
  bool split(hw::Vcpu& vcpu, Gfn gfn);
  /// Takes the page out of every table. False: an entry cannot be replaced.
  bool unmap(hw::Vcpu& vcpu, Gfn gfn);
  void release(hw::Vcpu& vcpu, Gfn gfn);
  PageStore* store_of(const Page& page);
  void note_cost(hw::Vcpu& vcpu, bool file, std::uint64_t pages);

  PageAllocator& pages_;
  Mappings& mappings_;
  Cpus& cpus_;
  Swap& swap_;
  Timers& timers_;
  Psi& psi_;
  VmStat& vmstat_;
  PageStore* files_ = nullptr;
  Shrinker* shrinker_ = nullptr;
  ShrinkerScan shrinker_scan_;
  Timers::Id kswapd_;
  bool is_running_ = false;  ///< reclaim is not entered from its own waits
  bool is_direct_ = false;
  bool kswapd_is_awake_ = false;
  std::uint64_t reclaimed_ = 0;          ///< frames, ever
  std::uint32_t age_ = 0;                ///< the reclaim clock: evictions and activations (nonresident_age)
  std::array<std::uint64_t, 2> cost_{};  ///< of reclaiming anonymous and file pages, as lru_note_cost
};

}  // namespace vmem::guest
