// What the guest kernel counts: Linux's /proc/vmstat.
#pragma once

#include <cstdint>

namespace vmem::guest {

/// Linux's names and meanings; events since boot, but for nr_anon_transparent_hugepages, which is what is there now.
struct VmStat {
  std::uint64_t pgfault = 0;
  std::uint64_t pgmajfault = 0;
  std::uint64_t pgfree = 0;
  std::uint64_t pgalloc = 0;
  std::uint64_t pgactivate = 0;
  std::uint64_t pgdeactivate = 0;
  std::uint64_t pgscan_kswapd = 0;
  std::uint64_t pgscan_direct = 0;
  std::uint64_t pgsteal_kswapd = 0;
  std::uint64_t pgsteal_direct = 0;
  std::uint64_t pgscan_anon = 0;
  std::uint64_t pgscan_file = 0;
  std::uint64_t pgsteal_anon = 0;
  std::uint64_t pgsteal_file = 0;
  std::uint64_t pageoutrun = 0;
  std::uint64_t allocstall = 0;
  std::uint64_t pswpin = 0;
  std::uint64_t pswpout = 0;
  std::uint64_t swpout_zero = 0;  ///< pages of zeros, which are not written
  std::uint64_t swpin_zero = 0;
  std::uint64_t pgpgin = 0;   ///< KiB read from disks
  std::uint64_t pgpgout = 0;  ///< KiB written
  std::uint64_t nr_dirtied = 0;
  std::uint64_t nr_written = 0;
  std::uint64_t workingset_refault_anon = 0;
  std::uint64_t workingset_refault_file = 0;
  std::uint64_t workingset_activate_anon = 0;
  std::uint64_t workingset_activate_file = 0;
  std::uint64_t thp_fault_alloc = 0;
  std::uint64_t thp_fault_fallback = 0;
  std::uint64_t thp_split_page = 0;
  std::uint64_t thp_split_pmd = 0;
  std::uint64_t nr_anon_transparent_hugepages = 0;  ///< of 2 MiB; one of 1 GiB is 512
  std::uint64_t oom_kill = 0;
  std::uint64_t nr_tlb_local_flush_one = 0;
  std::uint64_t nr_tlb_local_flush_all = 0;
  std::uint64_t nr_tlb_remote_flush = 0;
};

/// Pages of 2 MiB in a block of so many frames, 2^order.
constexpr std::uint64_t huge_pages(int order) { return order < 9 ? 0 : 1ull << (order - 9); }

/// Calls `use` with the name and value of each, in this order.
template <class Use>
void each_counter(const VmStat& stat, Use&& use) {
  use("pgfault", stat.pgfault);
  use("pgmajfault", stat.pgmajfault);
  use("pgfree", stat.pgfree);
  use("pgalloc", stat.pgalloc);
  use("pgactivate", stat.pgactivate);
  use("pgdeactivate", stat.pgdeactivate);
  use("pgscan_kswapd", stat.pgscan_kswapd);
  use("pgscan_direct", stat.pgscan_direct);
  use("pgsteal_kswapd", stat.pgsteal_kswapd);
  use("pgsteal_direct", stat.pgsteal_direct);
  use("pgscan_anon", stat.pgscan_anon);
  use("pgscan_file", stat.pgscan_file);
  use("pgsteal_anon", stat.pgsteal_anon);
  use("pgsteal_file", stat.pgsteal_file);
  use("pageoutrun", stat.pageoutrun);
  use("allocstall", stat.allocstall);
  use("pswpin", stat.pswpin);
  use("pswpout", stat.pswpout);
  use("swpout_zero", stat.swpout_zero);
  use("swpin_zero", stat.swpin_zero);
  use("pgpgin", stat.pgpgin);
  use("pgpgout", stat.pgpgout);
  use("nr_dirtied", stat.nr_dirtied);
  use("nr_written", stat.nr_written);
  use("workingset_refault_anon", stat.workingset_refault_anon);
  use("workingset_refault_file", stat.workingset_refault_file);
  use("workingset_activate_anon", stat.workingset_activate_anon);
  use("workingset_activate_file", stat.workingset_activate_file);
  use("thp_fault_alloc", stat.thp_fault_alloc);
  use("thp_fault_fallback", stat.thp_fault_fallback);
  use("thp_split_page", stat.thp_split_page);
  use("thp_split_pmd", stat.thp_split_pmd);
  use("nr_anon_transparent_hugepages", stat.nr_anon_transparent_hugepages);
  use("oom_kill", stat.oom_kill);
  use("nr_tlb_local_flush_one", stat.nr_tlb_local_flush_one);
  use("nr_tlb_local_flush_all", stat.nr_tlb_local_flush_all);
  use("nr_tlb_remote_flush", stat.nr_tlb_remote_flush);
  // Another counter needs another line above.
  static_assert(sizeof(VmStat) == 37 * sizeof(std::uint64_t));
}

}  // namespace vmem::guest
