#include "guest/page_cache.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "core/error.hpp"
#include "guest/lru.hpp"
#include "guest/reclaim.hpp"

namespace vmem::guest {
namespace {

constexpr std::uint64_t kSectorsPerPage = kPageSize >> virtio::block::kSectorShift;

void change_flags(hw::Vcpu& vcpu, Gfn gfn, std::uint16_t drop, std::uint16_t add) {
  const Gpa page = page_entry(gfn);
  set<&Page::flags>(vcpu, page, static_cast<std::uint16_t>((get<&Page::flags>(vcpu, page) & ~drop) | add));
}

void add_references(hw::Vcpu& vcpu, Gfn gfn, std::uint32_t by) {
  set<&Page::references>(vcpu, page_entry(gfn), get<&Page::references>(vcpu, page_entry(gfn)) + by);
}

}  // namespace

PageCache::PageCache(PageAllocator& pages, Mappings& mappings, Timers& timers, Psi& psi, VmStat& vmstat)
    : pages_(pages),
      mappings_(mappings),
      timers_(timers),
      psi_(psi),
      vmstat_(vmstat),
      flusher_(timers.add([this](hw::Vcpu& vcpu) { flush(vcpu); })) {}

void PageCache::use(BlockDriver& disk, FileSystem& files, Reclaim& reclaim) {
  disk_ = &disk;
  files_ = &files;
  reclaim_ = &reclaim;
  reclaim.keep_files_in(*this);
}

std::optional<Gfn> PageCache::add(hw::Vcpu& vcpu, File& file, std::uint64_t index, Need need) {
  const auto gfn = pages_.allocate(vcpu, 0, PageUse::file, need);
  if (!gfn) return std::nullopt;
  if (file.find(index).value != 0) {  // the allocation waited, and somebody was faster
    pages_.free(vcpu, *gfn, 0);
    return std::nullopt;
  }
  auto page = vcpu.load<Page>(page_entry(*gfn));
  page.owner = file.number;
  page.index = index;
  vcpu.store(page_entry(*gfn), page);
  file.place(index).gfn = short_number(*gfn);
  ++cached_;
  return gfn;
}

void PageCache::enlist(hw::Vcpu& vcpu, File& file, std::uint64_t index, Gfn gfn) {
  const std::uint32_t evicted = file.place(index).evicted;
  if (evicted != 0) reclaim_->on_refault(vcpu, gfn, evicted - 1);
  Lru::add(vcpu, gfn);
}

std::uint64_t PageCache::window_at(File& file, std::uint64_t index) const {
  // ondemand_readahead: doubled as long as reading goes on where it stopped.
  File::Readahead& state = file.readahead;
  state.window =
      index == state.next && index != 0 ? std::clamp(2 * state.window, kFirstWindow, kLargestWindow) : kFirstWindow;
  const std::uint64_t end = std::min(index + state.window, file.pages());
  state.next = end;
  return end;
}

PageCache::Found PageCache::hold(hw::Vcpu& vcpu, File& file, std::uint64_t index) {
  for (;;) {
    if (const Gfn gfn = file.find(index); gfn.value != 0) {
      add_references(vcpu, gfn, 1);
      return {gfn};
    }
    const Found found = read(vcpu, file, index);
    if (found.page.value != 0 || found.failed || file.find(index).value == 0) return found;
  }
}

PageCache::Found PageCache::hold_empty(hw::Vcpu& vcpu, File& file, std::uint64_t index) {
  if (file.find(index).value == 0) {
    const auto gfn = add(vcpu, file, index, Need::patient);
    if (gfn) {
      vcpu.zero(gfn->address(), kPageSize);
      enlist(vcpu, file, index, *gfn);
      return {*gfn};
    }
  }
  const Gfn gfn = file.find(index);
  if (gfn.value != 0) add_references(vcpu, gfn, 1);
  return {gfn};
}

PageCache::Found PageCache::read(hw::Vcpu& vcpu, File& file, std::uint64_t index) {
  const std::uint64_t end = window_at(file, index);
  std::vector<Gfn> taken;  // each has one reference: reclaim leaves it alone
  for (std::uint64_t at = index; at < end && file.find(at).value == 0 && taken.size() < BlockDriver::kMaxSegments;
       ++at) {
    const auto gfn = add(vcpu, file, at, at == index ? Need::patient : Need::modest);
    if (!gfn) break;
    taken.push_back(*gfn);
  }
  if (taken.empty()) return {};
  vmstat_.pgpgin += taken.size() * (kPageSize >> 10);
  const bool ok = read_from_disk(vcpu, file, index, taken);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    if (!ok) {
      forget(vcpu, taken[i], 0);
      pages_.free(vcpu, taken[i], 0);
      continue;
    }
    enlist(vcpu, file, index + i, taken[i]);
    if (i != 0) release(vcpu, taken[i]);
  }
  return ok ? Found{taken.front(), true, false} : Found{{}, true, true};
}

bool PageCache::read_from_disk(hw::Vcpu& vcpu, File& file, std::uint64_t index, const std::vector<Gfn>& pages) {
  std::array<virtio::Buffer, BlockDriver::kMaxSegments> segments;
  for (std::size_t i = 0; i < pages.size(); ++i) segments[i] = {pages[i].address(), kPageSize};
  const auto whole = std::span<const virtio::Buffer>(segments).first(pages.size());
  const std::uint64_t sector = file.first_sector + index * kSectorsPerPage;
  if (file.place(index).evicted == 0) return disk_->read(vcpu, sector, whole);
  const Psi::Stall stall(psi_, vcpu);  // it was here, and there was no room for it
  return disk_->read(vcpu, sector, whole);
}

void PageCache::release(hw::Vcpu& vcpu, Gfn gfn) const { add_references(vcpu, gfn, ~0u); }

void PageCache::touch(hw::Vcpu& vcpu, Gfn gfn) const {
  const auto flags = get<&Page::flags>(vcpu, page_entry(gfn));
  if ((flags & page_flag::kActive) != 0 || (flags & page_flag::kReferenced) == 0) {
    change_flags(vcpu, gfn, 0, page_flag::kReferenced);
    return;
  }
  change_flags(vcpu, gfn, page_flag::kReferenced, 0);
  Lru::move(vcpu, gfn, true);
  ++vmstat_.pgactivate;
}

void PageCache::mark_dirty(hw::Vcpu& vcpu, Gfn gfn) {
  const auto page = vcpu.load<Page>(page_entry(gfn));
  if ((page.flags & page_flag::kDirty) != 0) return;
  change_flags(vcpu, gfn, 0, page_flag::kDirty);
  dirty_.emplace(Key{page.owner, page.index}, vcpu.now());
  ++vmstat_.nr_dirtied;
  if (!timers_.is_armed(flusher_)) timers_.arm(flusher_, timers_.now() + kFlushPeriod);
}

std::uint64_t PageCache::limit(hw::Vcpu& vcpu, std::uint64_t percent) const {
  // global_dirtyable_memory: what is free or of files.
  const std::uint64_t dirtyable = pages_.zone_free_frames(vcpu) + cached_;
  return std::max<std::uint64_t>(dirtyable * percent / 100, 8);
}

void PageCache::throttle(hw::Vcpu& vcpu) {
  if (dirty_.size() > limit(vcpu, kBackground) && timers_.is_armed(flusher_)) timers_.arm(flusher_, timers_.now());
  while (dirty_.size() + in_flight_ > limit(vcpu, kMost)) {
    const std::uint64_t before = dirty_.size() + in_flight_;
    if (in_flight_ == 0) flush(vcpu);
    if (!wait_for_write(vcpu)) return;
    if (in_flight_ == 0 && dirty_.size() >= before) return;  // the disk takes nothing: no use in waiting
  }
}

void PageCache::flush(hw::Vcpu& vcpu) {
  const bool all = dirty_.size() > limit(vcpu, kBackground);
  std::vector<Key> due;
  for (const auto& [key, since] : dirty_)
    if (all || vcpu.now() - since >= kExpire) due.push_back(key);
  for (const Key& key : due) {
    const Gfn gfn = files_->at(key.first).find(key.second);
    const auto flags = get<&Page::flags>(vcpu, page_entry(gfn));
    if ((flags & page_flag::kDirty) != 0 && (flags & page_flag::kWriteback) == 0) write(vcpu, gfn);
  }
  start_writes(vcpu);
  if (!dirty_.empty()) timers_.arm(flusher_, vcpu.now() + kFlushPeriod);
}

void PageCache::protect(hw::Vcpu& vcpu, Gfn gfn) {
  // page_mkclean: the next store is seen.
  mappings_.for_each(vcpu, gfn, [&](Process& process, Gva at, const PageTable::Slot& slot) {
    if ((slot.entry & kPteWrite) == 0) return;
    process.table.store(vcpu, slot, slot.entry & ~(kPteWrite | kPteDirty));
    mappings_.shoot_down(vcpu, process, at);
  });
}

std::uint64_t PageCache::sector_of(Gfn gfn, hw::Vcpu& vcpu) const {
  const auto page = vcpu.load<Page>(page_entry(gfn));
  return files_->at(page.owner).first_sector + page.index * kSectorsPerPage;
}

bool PageCache::write(hw::Vcpu& vcpu, Gfn gfn) {
  protect(vcpu, gfn);
  const auto page = vcpu.load<Page>(page_entry(gfn));
  dirty_.erase({page.owner, page.index});
  change_flags(vcpu, gfn, page_flag::kDirty, page_flag::kWriteback);
  const std::uint64_t sector = sector_of(gfn, vcpu);
  ++in_flight_;
  while (!gathered_.empty() && (sector != first_gathered_ + gathered_.size() * kSectorsPerPage ||
                                gathered_.size() == BlockDriver::kMaxSegments))
    start_writes(vcpu);
  if (gathered_.empty()) first_gathered_ = sector;
  gathered_.push_back(gfn);
  return false;
}

void PageCache::start_writes(hw::Vcpu& vcpu) {
  if (gathered_.empty()) return;
  const std::vector<Gfn> pages = std::exchange(gathered_, {});
  std::array<virtio::Buffer, BlockDriver::kMaxSegments> segments;
  for (std::size_t i = 0; i < pages.size(); ++i) segments[i] = {pages[i].address(), kPageSize};
  vmstat_.nr_written += pages.size();
  vmstat_.pgpgout += pages.size() * (kPageSize >> 10);
  disk_->submit(vcpu, virtio::block::Operation::out, first_gathered_,
                std::span<const virtio::Buffer>(segments).first(pages.size()),
                [this, pages](hw::Vcpu& on, bool ok) { on_written(on, pages, ok); });
}

void PageCache::on_written(hw::Vcpu& vcpu, const std::vector<Gfn>& pages, bool ok) {
  in_flight_ -= pages.size();
  for (const Gfn gfn : pages) {
    change_flags(vcpu, gfn, page_flag::kWriteback, 0);
    if (!ok) {
      ++files_->at(get<&Page::owner>(vcpu, page_entry(gfn))).write_errors;
      mark_dirty(vcpu, gfn);
    }
    reclaim_->on_written(vcpu, gfn, ok);
  }
}

bool PageCache::wait_for_write(hw::Vcpu& vcpu) {
  start_writes(vcpu);
  const std::uint64_t before = in_flight_;
  if (before == 0) return false;
  while (in_flight_ >= before && disk_->wait(vcpu)) {
  }
  return in_flight_ < before;
}

bool PageCache::sync(hw::Vcpu& vcpu, File& file) {
  std::vector<std::uint64_t> due;
  for (auto at = dirty_.lower_bound({file.number, 0}); at != dirty_.end() && at->first.first == file.number; ++at)
    due.push_back(at->first.second);
  for (const std::uint64_t index : due) {
    const Gfn gfn = file.find(index);
    if (gfn.value == 0) continue;
    while ((get<&Page::flags>(vcpu, page_entry(gfn)) & page_flag::kWriteback) != 0 && wait_for_write(vcpu)) {
    }
    if (file.find(index) == gfn && (get<&Page::flags>(vcpu, page_entry(gfn)) & page_flag::kDirty) != 0)
      write(vcpu, gfn);
  }
  while (wait_for_write(vcpu)) {
  }
  const bool ok = std::exchange(file.write_errors, 0) == 0;
  return disk_->flush(vcpu) && ok;
}

void PageCache::forget(hw::Vcpu& vcpu, Gfn gfn, std::uint32_t evicted) {
  const auto page = vcpu.load<Page>(page_entry(gfn));
  files_->at(page.owner).place(page.index) = {0, evicted};
  dirty_.erase({page.owner, page.index});
  --cached_;
}

void PageCache::evict(hw::Vcpu& vcpu, Gfn gfn, std::uint32_t age) { forget(vcpu, gfn, age + 1); }

void PageCache::drop(hw::Vcpu& vcpu, Gfn gfn) {
  Lru::forget(vcpu, gfn);
  forget(vcpu, gfn, 0);
  pages_.free(vcpu, gfn, 0);
  ++vmstat_.pgfree;
}

void PageCache::truncate(hw::Vcpu& vcpu, File& file) {
  while (wait_for_write(vcpu)) {
  }
  file.each_page([&](std::uint64_t, Gfn gfn) { drop(vcpu, gfn); });
}

void PageCache::drop_clean(hw::Vcpu& vcpu) {
  if (files_ == nullptr) return;
  for (const auto& [number, file] : files_->all()) {
    file->each_page([&](std::uint64_t, Gfn gfn) {
      const auto page = vcpu.load<Page>(page_entry(gfn));
      if (page.references == 0 && (page.flags & (page_flag::kDirty | page_flag::kWriteback)) == 0) drop(vcpu, gfn);
    });
  }
}

void PageCache::check(hw::Vcpu& vcpu) const {
  if (files_ == nullptr) return;
  std::uint64_t cached = 0, dirty = 0;
  for (const auto& [number, file] : files_->all()) {
    file->each_page([&, &of = *file](std::uint64_t index, Gfn gfn) {
      ++cached;
      dirty += check_page(vcpu, of, index, gfn) ? 1 : 0;
    });
  }
  if (cached != cached_ || dirty != dirty_.size())
    throw InvariantError("guest page cache: " + std::to_string(cached_) + " pages and " +
                         std::to_string(dirty_.size()) + " dirty ones are counted, there are " +
                         std::to_string(cached) + " and " + std::to_string(dirty));
}

bool PageCache::check_page(hw::Vcpu& vcpu, const File& file, std::uint64_t index, Gfn gfn) const {
  const auto page = vcpu.load<Page>(page_entry(gfn));
  const std::string what = "guest page cache: page " + std::to_string(index) + " of file '" + file.name + "' ";
  if (page.use != PageUse::file || page.owner != file.number || page.index != index ||
      (page.flags & page_flag::kLru) == 0)
    throw InvariantError(what + "and gPFN " + hex(gfn.value) + " do not belong together");
  const bool is_dirty = (page.flags & page_flag::kDirty) != 0;
  if (is_dirty != dirty_.contains({file.number, index}))
    throw InvariantError(what + "is " + (is_dirty ? "dirty" : "clean") + ", and the flusher believes otherwise");
  mappings_.for_each(vcpu, gfn, [&](Process&, Gva, const PageTable::Slot& slot) {
    if ((slot.entry & kPteWrite) != 0 && !is_dirty)
      throw InvariantError(what + "is clean, and may be written to without anybody noticing");
  });
  return is_dirty;
}

}  // namespace vmem::guest
