// The memory-management unit: composes TLBs, walker and paging-structure caches by the rules of docs/design/mmu.md.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "core/access.hpp"
#include "core/address.hpp"
#include "core/counters.hpp"
#include "core/prefetch.hpp"
#include "core/run.hpp"
#include "hw/cpu_config.hpp"
#include "hw/fault.hpp"
#include "hw/silicon.hpp"
#include "hw/tlb.hpp"
#include "hw/walker.hpp"

namespace vmem::hw {

/// Who finds the translation when no TLB level holds it.
enum class Refill : std::uint8_t {
  walker,  ///< the processor's own page walk
  kernel   ///< software: the processor raises FaultKind::tlb_refill, and FaultKind::tlb_modified for a first store
};

/// What became of runs of references.
struct RunsMade {
  std::uint64_t references = 0;  ///< those that on_leave made aside
  std::size_t runs = 0;          ///< all that precede the first malformed one, unless stopped
};

/// One processor's MMU. A fault is a value; who serves it is not its business. Not thread-safe: one MMU, one thread.
class Mmu {
 public:
  /// `memory` outlives the Mmu. ConfigError if `cpu` is impossible.
  Mmu(const PhysicalView& memory, const CpuConfig& cpu);

  const CpuConfig& cpu() const { return cpu_; }
  const State& state() const { return silicon_.state; }
  /// Replaces the registers; implies no invalidation. ConfigError outside long mode or for an impossible EPTP.
  void set_state(const State& state);
  void set_linear_tables(LinearTables whose) { silicon_.linear_tables = whose; }
  /// Refill::kernel: `probe` has no meaning. ConfigError if neither the first level nor the second can hold a 4 KiB
  /// page of either side: the access that it was written for would never find it.
  void set_refill(Refill refill);
  /// Software refill: `entry` translates `gva` in the current context from now on. The levels that hold the page are
  /// updated in place; if none does, the second level and the first level of the access that raised the latest
  /// exception are filled.
  void write_tlb(Gva gva, const TlbEntry& entry);
  /// Whoever is told of walks from now on; nullptr: nobody.
  void tell(Story* story) { silicon_.story = story; }
  bool one_dimensional() const { return silicon_.state.second_stage == SecondStageKind::none; }

  /// One access, counted. True: `entry.physical(va)` is where it went. False: `fault`.
  bool access(Gva gva, AccessKind kind, TlbEntry& entry, Fault& fault);
  /// The access whose fault has been served, again: a walk, no lookup and no count. With Refill::kernel: a lookup, not
  /// counted.
  bool retry(Gva gva, AccessKind kind, TlbEntry& entry, Fault& fault);
  /// What `access` would give by the tables alone; changes nothing.
  bool probe(Gva gva, AccessKind kind, TlbEntry& entry, Fault& fault);
  /// The second stage alone, as the guest kernel's own pinned mappings use it: no caches, no counters.
  bool access_guest_physical(Gpa gpa, HostAccess kind, HostMapping& mapping, Fault& fault);
  bool probe_guest_physical(Gpa gpa, HostMapping& mapping);

  /// `count` accesses in order, up to one whose kind does not exist. `on_fault(i, fault)` serves the fault of access i
  /// (its retries included) and returns whether to go on; false stops after access i. Returns the number of accesses
  /// made. Counters are exact whenever on_fault runs.
  template <class OnFault>
  std::size_t access_batch(const std::uint64_t* addresses, const std::uint8_t* kinds, std::size_t count,
                           OnFault&& on_fault);
  /// The references of `runs` in order, as far as these are well-formed. `on_leave(run, fault)` is called where the
  /// first reference of a run is not followed by hits alone: it serves the fault of that reference, if there was one
  /// (else nullptr), makes the rest of the run, and returns whether to go on; false stops after that run. Counters are
  /// exact whenever on_leave runs.
  template <class OnLeave>
  RunsMade access_runs(std::span<const Run> runs, OnLeave&& on_leave);
  /// References that a Stretch found to be hits.
  void count_hits(std::uint64_t loads, std::uint64_t stores, std::uint64_t fetches) {
    silicon_.counters.loads += loads;
    silicon_.counters.stores += stores;
    silicon_.counters.fetches += fetches;
  }
  /// For accesses that are quickly seen to be first-level hits with nothing else to do. Counting them is the caller's.
  Shortcuts::Stretch stretch() { return {shortcuts_, tlb_clock_}; }

  // Invalidations (SDM vol. 3, 4.10.4 and 28.3.3), as tabulated in docs/design/mmu.md.
  void invlpg(Gva gva);
  enum class InvpcidType : std::uint8_t { address = 0, single = 1, all_with_globals = 2, all_but_globals = 3 };
  void invpcid(InvpcidType type, std::uint16_t pcid, Gva gva);
  void mov_cr3(std::uint64_t value);
  void mov_cr4(std::uint64_t value);
  enum class InvvpidType : std::uint8_t { address = 0, single = 1, all = 2, single_but_globals = 3 };
  /// False: VMfail (VPID 0 for a type that names one).
  bool invvpid(InvvpidType type, std::uint16_t vpid, Gva gva);
  void invept_single(std::uint64_t root);
  void invept_all();
  void flush();

  Counters counters() const;
  void reset_counters();
  /// Where vmm and guest count what is theirs: exits and faults.
  Counters& event_counters() { return silicon_.counters; }

  /// Calls `use(context, va_page, entry)` for each valid entry of every TLB level; for invariant checks.
  template <class Use>
  void for_each_tlb_entry(Use&& use) const {
    for (const TlbLevel* level : {&l1_.front(), &l1_.back(), &l2_})
      level->for_each([&](std::uint64_t key, const TlbEntry& entry) {
        use(contexts_.at(key), key & ((1ull << kKeySizeShift) - 1), entry);
      });
  }

 private:
  static std::size_t side(AccessKind kind) { return static_cast<std::size_t>(side_of(kind)); }
  bool look_up(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault);
  bool use(std::uint64_t va, AccessKind kind, TlbPlace held, TlbEntry& entry, Fault& fault);
  /// Whether the access may pass as it is. If so, it is remembered where the first level holds it, if it does.
  [[gnu::always_inline]] bool permitted(std::uint64_t va, AccessKind kind, const TlbEntry& entry, TlbPlace held) {
    const std::uint8_t allowed = silicon_.permissions[entry.flags];
    if (held) shortcuts_.remember(va, side_of(kind), held, allowed);
    return ((allowed >> static_cast<unsigned>(kind)) & 1) != 0;
  }
  bool judge_hit(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault);
  Fault general_protection(std::uint64_t va, AccessKind kind) const;
  bool raise(FaultKind what, std::uint64_t va, AccessKind kind, Fault& fault);
  bool use_what_is_held(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault);
  bool assist_dirty(std::uint64_t va, TlbEntry& entry, Fault& fault);
  bool walk(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault);
  bool walk_and_fill(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault);
  bool walk_again(std::uint64_t va, AccessKind kind, TlbEntry& entry, Fault& fault);
  void drop_rest_after(const Fault& fault);
  [[gnu::always_inline]] void fill_l1(std::uint64_t va, AccessKind kind, const TlbEntry& entry) {
    permitted(va, kind, entry, l1_[side(kind)].fill(va, silicon_.keys, entry));
  }
  void drop_page(std::uint64_t va, const ContextKeys& keys);
  void drop_guest_page(std::uint64_t va);
  void drop_visible_parts(std::uint64_t va);
  template <class Matches>
  void drop_guest_page_of(std::uint64_t va, Matches&& matches);
  template <class Matches>
  void drop_contexts(Matches&& matches);
  void renew_keys();
  const Run* pass_hits(const Run* run, const Run* end, RunCounts& counts);
  void count_kinds(const std::uint8_t* kinds, std::size_t count);
  std::uint64_t& counter_of(AccessKind kind);
  std::uint64_t references_of_walks() const {
    return silicon_.counters.walk_refs_guest + silicon_.counters.walk_refs_host;
  }
  /// `look_up` for element `i` of `count`, ahead of whose walks is read; `page(j)` is an address in the page of element
  /// j.
  template <class Page>
  bool look_up_ahead(Lookahead& ahead, std::size_t i, std::size_t count, Page&& page, std::uint64_t va, AccessKind kind,
                     TlbEntry& entry, Fault& fault);
  template <class Page>
  void look_ahead(Lookahead& ahead, std::size_t i, std::size_t count, Page&& page);
  void prefetch_leaf(std::uint64_t va) const;
  void prefetch_second_stage_leaf(std::uint64_t va) const;

  CpuConfig cpu_;
  Silicon silicon_;
  ContextTable contexts_;
  Shortcuts shortcuts_;
  std::uint64_t tlb_clock_ = 0;  ///< touches of TLB entries so far
  std::array<TlbLevel, 2> l1_;   ///< data, instruction
  TlbLevel l2_;
  std::array<std::uint64_t, 2> l1_misses_{};
  Refill refill_ = Refill::walker;
  AccessKind raised_by_ = AccessKind::load;  ///< the access that raised the latest refill exception
};

template <class Page>
[[gnu::noinline]] void Mmu::look_ahead(Lookahead& ahead, std::size_t i, std::size_t count, Page&& page) {
  ahead.walked(
      i, count, [&](std::size_t j) { prefetch_leaf(page(j)); },
      [&](std::size_t j) { prefetch_second_stage_leaf(page(j)); });
}

template <class Page>
[[gnu::always_inline]] inline bool Mmu::look_up_ahead(Lookahead& ahead, std::size_t i, std::size_t count, Page&& page,
                                                      std::uint64_t va, AccessKind kind, TlbEntry& entry,
                                                      Fault& fault) {
  // A walk that a paging-structure cache leads to the leaf tables finds these in use, and so in the caches of the
  // simulating machine: it waits for nothing.
  const std::uint64_t short_walk = one_dimensional() ? 1 : 2;
  const std::uint64_t references = references_of_walks();
  const bool found = look_up(va, kind, entry, fault);
  if (references_of_walks() - references > short_walk) look_ahead(ahead, i, count, std::forward<Page>(page));
  return found;
}

template <class OnFault>
std::size_t Mmu::access_batch(const std::uint64_t* addresses, const std::uint8_t* kinds, std::size_t count,
                              OnFault&& on_fault) {
  constexpr std::size_t kBlock = 4096;  // kinds are counted a stretch at a time, which vectorises
  TlbEntry entry;
  Fault fault;
  Lookahead ahead;
  std::size_t counted = 0;
  for (std::size_t i = 0;; ++i) {
    const std::size_t stop = count - counted < kBlock ? count : counted + kBlock;
    {
      Shortcuts::Stretch hits = stretch();
      for (; i < stop && hits.touch(addresses[i], static_cast<AccessKind>(kinds[i])); ++i) read_ahead(addresses + i);
    }
    if (i == stop) {
      count_kinds(kinds + counted, stop - counted);
      counted = stop;
      if (stop == count) return count;
      --i;
      continue;
    }
    if (kinds[i] >= kAccessKinds) [[unlikely]] {  // known to no shortcut, so it comes to light here
      count_kinds(kinds + counted, i - counted);
      return i;
    }
    const auto kind = static_cast<AccessKind>(kinds[i]);
    if (look_up_ahead(
            ahead, i, count, [&](std::size_t j) { return addresses[j]; }, addresses[i], kind, entry, fault)) [[likely]]
      continue;
    count_kinds(kinds + counted, i + 1 - counted);
    counted = i + 1;
    if (!on_fault(i, fault)) return i + 1;
  }
}

/// Goes over runs that shortcuts know to be hits; returns the first of the others.
[[gnu::always_inline]] inline const Run* Mmu::pass_hits(const Run* run, const Run* end, RunCounts& counts) {
  Shortcuts::Stretch hits = stretch();
  const auto hit = [&](Run next) {  // a kind that does not exist is known to no shortcut
    const bool is_hit = has_right_counts(next) && hits.touch_page(next.page);
    if (is_hit) counts.add(next);
    return is_hit;
  };
  constexpr std::ptrdiff_t kGroup = 4;  // a cache line of runs
  for (; end - run >= kGroup; run += kGroup) {
    read_ahead(run);
#pragma GCC unroll 4
    for (std::ptrdiff_t i = 0; i < kGroup; ++i)
      if (!hit(run[i])) return run + i;
  }
  while (run != end && hit(*run)) ++run;
  return run;
}

template <class OnLeave>
RunsMade Mmu::access_runs(std::span<const Run> runs, OnLeave&& on_leave) {
  TlbEntry entry;
  Fault fault;
  Lookahead ahead;
  RunCounts counts;
  std::uint64_t made = 0;
  const auto count = [&] {
    count_hits(counts.loads - counts.fetches(), counts.stores, counts.fetches());
    made += counts.loads + counts.stores;
    counts = {};
  };
  const Run* run = runs.data();
  for (const Run* const end = run + runs.size();;) {
    run = pass_hits(run, end, counts);
    if (run == end) break;
    const Run next = *run;  // a callback may write to `runs`
    if (!well_formed(next)) break;
    const auto i = static_cast<std::size_t>(run++ - runs.data());
    const bool found = look_up_ahead(
        ahead, i, runs.size(), [&](std::size_t j) { return runs[j].page; }, page_address(next), first_kind(next), entry,
        fault);
    if (found && shortcuts_.knows(page_address(next), first_kind(next))) [[likely]] {
      counts.add(next);  // the others hit what was touched last
      continue;
    }
    count();
    ++counter_of(first_kind(next));
    ++made;
    if (!on_leave(next, found ? nullptr : &fault)) break;
  }
  count();
  return {made, static_cast<std::size_t>(run - runs.data())};
}

}  // namespace vmem::hw
