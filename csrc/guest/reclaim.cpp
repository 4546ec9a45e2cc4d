#include "guest/reclaim.hpp"

#include <algorithm>

namespace vmem::guest {
namespace {

void change_flags(hw::Vcpu& vcpu, Gfn gfn, std::uint16_t drop, std::uint16_t add) {
  const Gpa page = page_entry(gfn);
  set<&Page::flags>(vcpu, page, static_cast<std::uint16_t>((get<&Page::flags>(vcpu, page) & ~drop) | add));
}

std::uint64_t square_root(std::uint64_t square) {
  std::uint64_t root = 0;
  while ((root + 1) * (root + 1) <= square) ++root;
  return root;
}

}  // namespace

Reclaim::Reclaim(PageAllocator& pages, Mappings& mappings, Cpus& cpus, Swap& swap, Timers& timers, Psi& psi,
                 VmStat& vmstat)
    : pages_(pages),
      mappings_(mappings),
      cpus_(cpus),
      swap_(swap),
      timers_(timers),
      psi_(psi),
      vmstat_(vmstat),
      kswapd_(timers.add([this](hw::Vcpu& vcpu) { run_kswapd(vcpu); })) {
  pages.relieve_with(*this);
}

void Reclaim::on_low_memory(hw::Vcpu&) {
  if (kswapd_is_awake_) return;
  kswapd_is_awake_ = true;
  pages_.set_reclaiming(true);
  timers_.arm(kswapd_, timers_.now());
}

void Reclaim::run_kswapd(hw::Vcpu& vcpu) {
  constexpr Nanoseconds kAgain = 10 * kMillisecond;
  if (is_running_) {
    timers_.arm(kswapd_, vcpu.now() + kAgain);
    return;
  }
  is_running_ = true;
  ++vmstat_.pageoutrun;
  const std::uint64_t before = reclaimed_;
  for (int priority = kPriority; priority > 0 && !pages_.is_balanced(vcpu);) {
    const std::uint64_t start = reclaimed_;
    shrink(vcpu, priority, kCluster * 8);
    // What is being written will be free soon.
    if (swap_.in_flight() + (files_ != nullptr ? files_->in_flight() : 0) >= kCluster * 8) break;
    if (reclaimed_ == start) --priority;
  }
  is_running_ = false;
  if (pages_.is_balanced(vcpu) || (reclaimed_ == before && swap_.in_flight() == 0)) {
    kswapd_is_awake_ = false;  // done, or hopeless: the next failing allocation wakes it again
    pages_.set_reclaiming(false);
  } else {
    timers_.arm(kswapd_, vcpu.now() + kAgain);
  }
}

std::uint64_t Reclaim::reclaim(hw::Vcpu& vcpu, int) {
  if (is_running_) return 0;
  is_running_ = is_direct_ = true;
  ++vmstat_.allocstall;
  const Psi::Stall stall(psi_, vcpu);
  const std::uint64_t before = reclaimed_;
  for (int priority = kPriority; priority >= 0 && reclaimed_ - before < kCluster; --priority) {
    shrink(vcpu, priority, kCluster);
    // reclaim_throttle: rather than look at still more pages, wait for those that are being written.
    while (reclaimed_ - before < kCluster && swap_.wait_for_write(vcpu)) {
    }
    while (reclaimed_ - before < kCluster && files_ != nullptr && files_->wait_for_write(vcpu)) {
    }
  }
  is_running_ = is_direct_ = false;
  return reclaimed_ - before;
}

bool Reclaim::can_swap(hw::Vcpu& vcpu) const {
  return swap_.exists() && (swap_.map().free_slots(vcpu) != 0 || swap_.cached() != 0);
}

bool Reclaim::is_inactive_low(hw::Vcpu& vcpu, bool file) {
  const std::uint64_t inactive = Lru::frames(vcpu, lru_kind(file, false));
  const std::uint64_t active = Lru::frames(vcpu, lru_kind(file, true));
  const std::uint64_t gib = (inactive + active) >> (30 - kPageShift);
  return inactive * (gib != 0 ? square_root(10 * gib) : 1) < active;
}

Reclaim::Counts Reclaim::scan_counts(hw::Vcpu& vcpu, int priority) const {
  // get_scan_count: the dearer the reclaim of one kind has been, the more of the other is looked at.
  const std::uint64_t total = cost_[0] + cost_[1];
  std::array<std::uint64_t, 2> share = {kSwappiness * (total + 1) / (total + cost_[0] + 1),
                                        (200 - kSwappiness) * (total + 1) / (total + cost_[1] + 1)};
  if (!can_swap(vcpu)) share[0] = 0;
  if (files_ == nullptr) share[1] = 0;
  const std::uint64_t whole = std::max<std::uint64_t>(share[0] + share[1], 1);
  Counts counts{};
  for (int kind = 0; kind < kLruLists; ++kind) {
    const auto list = static_cast<LruKind>(kind);
    const std::uint64_t part = share[is_file(list) ? 1 : 0];
    if (part == 0) continue;
    const std::uint64_t frames = Lru::frames(vcpu, list) >> priority;
    counts[static_cast<std::size_t>(kind)] = priority == 0 ? frames : frames * part / whole;
  }
  return counts;
}

void Reclaim::shrink(hw::Vcpu& vcpu, int priority, std::uint64_t target) {
  Counts left = scan_counts(vcpu, priority);
  const std::uint64_t before = reclaimed_;
  const auto any_left = [&] {
    return std::any_of(left.begin(), left.end(), [](std::uint64_t count) { return count != 0; });
  };
  while (any_left() && reclaimed_ - before < target) {
    for (int kind = 0; kind < kLruLists; ++kind) {
      std::uint64_t& count = left[static_cast<std::size_t>(kind)];
      const std::uint64_t part = std::min(count, kCluster);
      if (part == 0) continue;
      count -= part;
      const auto list = static_cast<LruKind>(kind);
      if (!is_active(list)) {
        shrink_inactive(vcpu, list, part);
      } else if (is_inactive_low(vcpu, is_file(list))) {
        shrink_active(vcpu, list, part);
      }
    }
  }
  if (can_swap(vcpu) && is_inactive_low(vcpu, false)) shrink_active(vcpu, LruKind::active_anonymous, kCluster);
  swap_.start_writes(vcpu);
  if (files_ != nullptr) files_->start_writes(vcpu);
  if (shrinker_ != nullptr) reclaimed_ += shrinker_scan_.run(vcpu, *shrinker_, priority);
}

void Reclaim::shrink_active(hw::Vcpu& vcpu, LruKind kind, std::uint64_t count) {
  for (std::uint64_t seen = 0; seen < count;) {
    const Gfn gfn = Lru::oldest(vcpu, kind);
    if (gfn.value == 0) return;
    seen += 1ull << get<&Page::order>(vcpu, page_entry(gfn));
    take_accesses(vcpu, gfn);
    Lru::move(vcpu, gfn, false);
    ++vmstat_.pgdeactivate;
  }
}

void Reclaim::shrink_inactive(hw::Vcpu& vcpu, LruKind kind, std::uint64_t count) {
  std::uint64_t written = 0;
  for (std::uint64_t seen = 0; seen < count;) {
    const Gfn gfn = Lru::oldest(vcpu, kind);
    if (gfn.value == 0) break;
    const std::uint64_t frames = 1ull << get<&Page::order>(vcpu, page_entry(gfn));
    seen += frames;
    (is_direct_ ? vmstat_.pgscan_direct : vmstat_.pgscan_kswapd) += frames;
    (is_file(kind) ? vmstat_.pgscan_file : vmstat_.pgscan_anon) += frames;
    switch (reclaim_page(vcpu, gfn)) {
      case Verdict::reclaimed:
        break;
      case Verdict::writing:
        ++written;
        break;
      case Verdict::kept:
        Lru::move(vcpu, gfn, false);
        break;
      case Verdict::activated:
        Lru::move(vcpu, gfn, true);
        age_ += static_cast<std::uint32_t>(frames);
        vmstat_.pgactivate += frames;
        break;
    }
  }
  if (written != 0) note_cost(vcpu, is_file(kind), written);
}

Reclaim::Verdict Reclaim::reclaim_page(hw::Vcpu& vcpu, Gfn gfn) {
  auto page = vcpu.load<Page>(page_entry(gfn));
  if ((page.flags & page_flag::kWriteback) != 0) return Verdict::kept;
  if (page.references != 0) {
    // folio_check_references
    if (const std::uint64_t accesses = take_accesses(vcpu, gfn); accesses != 0) {
      const bool again = (page.flags & page_flag::kReferenced) != 0;
      change_flags(vcpu, gfn, 0, page_flag::kReferenced);
      return again || accesses > 1 ? Verdict::activated : Verdict::kept;
    }
    change_flags(vcpu, gfn, page_flag::kReferenced, 0);
  }
  if (page.order != 0) return split(vcpu, gfn) ? Verdict::kept : Verdict::activated;
  PageStore* const store = store_of(page);
  if (store == nullptr) return Verdict::activated;
  if (page.use == PageUse::anonymous && (page.flags & page_flag::kSwapCache) == 0 && !swap_.add(vcpu, gfn))
    return Verdict::activated;  // no slot is free
  if (page.references != 0 && !unmap(vcpu, gfn)) return Verdict::activated;
  page = vcpu.load<Page>(page_entry(gfn));
  if ((page.flags & page_flag::kDirty) != 0) {
    Lru::move(vcpu, gfn, false);
    change_flags(vcpu, gfn, 0, page_flag::kReclaim);
    if (!store->write(vcpu, gfn)) return Verdict::writing;
  }
  release(vcpu, gfn);
  return Verdict::reclaimed;
}

PageStore* Reclaim::store_of(const Page& page) {
  if (page.use == PageUse::file) return files_;
  return swap_.exists() ? &swap_ : nullptr;
}

std::uint64_t Reclaim::take_accesses(hw::Vcpu& vcpu, Gfn gfn) {
  std::uint64_t accesses = 0;
  mappings_.for_each(vcpu, gfn, [&](Process& process, Gva, const PageTable::Slot& slot) {
    if ((slot.entry & kPteAccessed) == 0) return;
    // No flush, as on x86: while a TLB has the entry, accesses go unseen.
    process.table.store(vcpu, slot, slot.entry & ~kPteAccessed);
    ++accesses;
  });
  return accesses;
}

bool Reclaim::split(hw::Vcpu& vcpu, Gfn gfn) {
  bool room = true;
  mappings_.for_each(vcpu, gfn, [&](Process& process, Gva at, const PageTable::Slot& slot) {
    if (slot.level > 1) room = room && mappings_.split(vcpu, process, at, slot, Need::desperate);
  });
  return room && get<&Page::order>(vcpu, page_entry(gfn)) == 0;
}

bool Reclaim::unmap(hw::Vcpu& vcpu, Gfn gfn) {
  const bool anonymous = get<&Page::use>(vcpu, page_entry(gfn)) == PageUse::anonymous;
  const SlotNumber slot_number = get<&Page::slot>(vcpu, page_entry(gfn));
  bool possible = true;
  mappings_.for_each(vcpu, gfn, [&](Process& process, Gva at, const PageTable::Slot& leaf) {
    PageTable::Slot slot = leaf;
    Gva page = at;
    while (slot.level > 1) {  // another process still maps the large page that this one was part of
      if (!mappings_.split(vcpu, process, page, slot, Need::desperate)) {
        possible = false;
        return;
      }
      page = Gva{page.value + ((gfn.value - slot.target().value) << kPageShift)};
      slot = process.table.find(vcpu, page);
    }
    if (anonymous && (slot.entry & kPteDirty) != 0) change_flags(vcpu, gfn, 0, page_flag::kDirty);
    process.table.store(vcpu, slot, anonymous ? swap_entry(slot_number) : 0);
    cpus_.shoot_down(vcpu, process, page.value, page.value + kPageSize);
    --process.resident;
    if (anonymous) {
      ++process.swapped;
      swap_.map().add_entry(vcpu, slot_number);
    }
    const Gpa entry = page_entry(gfn);
    set<&Page::references>(vcpu, entry, get<&Page::references>(vcpu, entry) - 1);
  });
  return possible && get<&Page::references>(vcpu, page_entry(gfn)) == 0;
}

void Reclaim::release(hw::Vcpu& vcpu, Gfn gfn) {
  const auto page = vcpu.load<Page>(page_entry(gfn));
  Lru::forget(vcpu, gfn);
  store_of(page)->evict(vcpu, gfn, age_);
  pages_.free(vcpu, gfn, 0);
  ++age_;
  ++reclaimed_;
  ++vmstat_.pgfree;
  ++(is_direct_ ? vmstat_.pgsteal_direct : vmstat_.pgsteal_kswapd);
  ++(page.use == PageUse::file ? vmstat_.pgsteal_file : vmstat_.pgsteal_anon);
}

void Reclaim::on_written(hw::Vcpu& vcpu, Gfn gfn, bool ok) {
  const auto page = vcpu.load<Page>(page_entry(gfn));
  const bool wanted = (page.flags & page_flag::kReclaim) != 0;
  change_flags(vcpu, gfn, page_flag::kReclaim, 0);
  if (page.references != 0) return;
  // Nobody will ask for it again: a dirty copy does not matter, nor that the disk refused it.
  const bool orphan = page.use == PageUse::anonymous && swap_.map().at(vcpu, page.slot).entries == 0;
  if (orphan || (ok && wanted && (page.flags & page_flag::kDirty) == 0)) release(vcpu, gfn);
}

void Reclaim::on_refault(hw::Vcpu& vcpu, Gfn gfn, std::uint32_t evicted) {
  const bool file = get<&Page::use>(vcpu, page_entry(gfn)) == PageUse::file;
  ++(file ? vmstat_.workingset_refault_file : vmstat_.workingset_refault_anon);
  // workingset_refault
  std::uint64_t size = Lru::frames(vcpu, LruKind::active_file);
  if (!file) size += Lru::frames(vcpu, LruKind::inactive_file);
  if (can_swap(vcpu)) {
    size += Lru::frames(vcpu, LruKind::active_anonymous);
    if (file) size += Lru::frames(vcpu, LruKind::inactive_anonymous);
  }
  if (age_ - evicted > size) return;
  change_flags(vcpu, gfn, 0, page_flag::kActive | page_flag::kWorkingset);
  ++age_;
  ++(file ? vmstat_.workingset_activate_file : vmstat_.workingset_activate_anon);
  note_cost(vcpu, file, 1);
}

void Reclaim::note_cost(hw::Vcpu& vcpu, bool file, std::uint64_t pages) {
  cost_[file ? 1 : 0] += pages;
  std::uint64_t frames = 0;
  for (int kind = 0; kind < kLruLists; ++kind) frames += Lru::frames(vcpu, static_cast<LruKind>(kind));
  if (cost_[0] + cost_[1] > frames / 4)
    for (std::uint64_t& cost : cost_) cost /= 2;
}

}  // namespace vmem::guest
