#include "vmm/shadow/shadow_table.hpp"

#include <algorithm>

namespace vmem::vmm {
namespace {

using paging::x86_64;

Hfn target(std::uint64_t entry, int level) { return {x86_64.target(entry, level) >> kPageShift}; }

}  // namespace

ShadowTable::~ShadowTable() {
  for (auto& [key, page] : pages_) page->pins = 0;
  while (!pages_.empty()) zap(*pages_.begin()->second);
  free_condemned();
}

ShadowPage* ShadowTable::find(const ShadowKey& key) {
  const auto at = pages_.find(key);
  return at == pages_.end() ? nullptr : at->second.get();
}

ShadowPage* ShadowTable::create(const ShadowKey& key) {
  const auto frame = memory_.allocate(0, memory::FrameUse::table, owner_);
  if (!frame) return nullptr;
  memory_.bytes().mark_written(frame->value);
  for (unsigned index = 0; empty_ != 0 && index < paging::kEntries; ++index)
    write(frame->address() + 8ull * index, empty_);
  auto page = std::make_unique<ShadowPage>();
  page->key = key;
  page->table = frame->address();
  page->born = ++births_;
  auto slot = static_cast<std::uint32_t>(by_slot_.size());
  if (free_slots_.empty()) {
    by_slot_.push_back(nullptr);
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  by_slot_[slot] = page.get();
  memory_.frame(*frame).extra = slot;
  if (page->shadows_guest_table()) by_gfn_[key.subject].push_back(page.get());
  return (pages_[key] = std::move(page)).get();
}

void ShadowTable::zap(ShadowPage& page) {
  for (unsigned index = 0; index < paging::kEntries; ++index) drop_entry(page.entry(index), page.key.level);
  for (const Hpa parent : page.parents) write(parent, empty_);
  untrace(page);
  if (page.shadows_guest_table()) {
    auto& same = by_gfn_[page.key.subject];
    std::erase(same, &page);
    if (same.empty()) by_gfn_.erase(page.key.subject);
  }
  const Hfn frame = page.table.frame();
  const std::uint32_t slot = memory_.frame(frame).extra;
  by_slot_[slot] = nullptr;
  free_slots_.push_back(slot);
  condemned_.push_back(frame);
  pages_.erase(ShadowKey(page.key));
}

void ShadowTable::reclaim(std::size_t count) {
  std::vector<std::pair<std::uint64_t, ShadowKey>> candidates;
  for (const auto& [key, page] : pages_)
    if (page->pins == 0) candidates.emplace_back(page->born, key);
  std::sort(candidates.begin(), candidates.end());
  for (const auto& [born, key] : candidates) {
    if (count == 0) return;
    if (ShadowPage* page = find(key)) {  // it may have gone with a page above it
      zap(*page);
      --count;
    }
  }
}

const std::vector<ShadowPage*>& ShadowTable::of_guest_table(Gfn gfn) const {
  static const std::vector<ShadowPage*> none;
  const auto at = by_gfn_.find(gfn.value);
  return at == by_gfn_.end() ? none : at->second;
}

ShadowPage& ShadowTable::child(std::uint64_t entry) { return page_at(Hpa{entry & x86_64.address}); }

void ShadowTable::link(Hpa entry, ShadowPage& child, std::uint64_t rights) {
  write(entry, child.table.value | rights | x86_64.present | x86_64.accessed);
  child.parents.push_back(entry);
}

void ShadowTable::set_leaf(Hpa entry, std::uint64_t value, int level) {
  const std::uint64_t old = load(entry);
  if (in_use(old) && x86_64.is_leaf(old, level) && target(old, level) == target(value, level)) {
    write(entry, value);
    return;
  }
  drop_entry(entry, level);
  write(entry, value);
  reverse_.add(target(value, level), entry);
}

bool ShadowTable::drop_entry(Hpa entry, int level) {
  const std::uint64_t old = load(entry);
  if (!in_use(old)) return false;
  write(entry, empty_);
  if (x86_64.is_leaf(old, level)) {
    reverse_.remove(target(old, level), entry);
    return true;
  }
  ShadowPage& orphan = child(old);
  std::erase(orphan.parents, entry);
  if (orphan.parents.empty() && orphan.pins == 0) zap(orphan);
  return true;
}

std::vector<Hpa> ShadowTable::entries_of(Hfn hfn) const {
  std::vector<Hpa> entries = reverse_.entries(hfn);
  std::erase_if(entries, [&](Hpa entry) { return memory_.frame(entry.frame()).owner != owner_; });
  return entries;
}

bool ShadowTable::withdraw_write(Hfn hfn) {
  bool changed = false;
  for (const Hpa entry : entries_of(hfn)) {
    const int level = level_of(entry);
    const std::uint64_t old = load(entry);
    if (level == 1 && (old & x86_64.write)) {
      write(entry, old & ~x86_64.write);
      changed = true;
    } else if (level > 1) {
      changed |= drop_entry(entry, level);
    }
  }
  for (int level = 2; level <= paging::kMaxLeafLevel; ++level) {
    const Hfn head{align_down(hfn.value, page_frames(leaf_page_size(level)))};
    if (head == hfn) continue;
    for (const Hpa entry : entries_of(head))
      if (level_of(entry) >= level) changed |= drop_entry(entry, level_of(entry));
  }
  return changed;
}

bool ShadowTable::drop_mappings(Hfn hfn, std::uint64_t count) {
  bool dropped = false;
  for (int level = 2; level <= paging::kMaxLeafLevel; ++level) {
    const Hfn head{align_down(hfn.value, page_frames(leaf_page_size(level)))};
    for (const Hpa entry : entries_of(head))
      if (level_of(entry) >= level) dropped |= drop_entry(entry, level_of(entry));
  }
  for (std::uint64_t i = 0; i < count; ++i)
    for (const Hpa entry : entries_of(hfn + i)) dropped |= drop_entry(entry, level_of(entry));
  return dropped;
}

bool ShadowTable::trace(ShadowPage& page) {
  if (page.traced) return false;
  page.traced = true;
  return traced_.add(page.gfn());
}

void ShadowTable::untrace(ShadowPage& page) {
  if (page.traced) traced_.remove(page.gfn());
  page.traced = false;
}

void ShadowTable::free_condemned() {
  for (const Hfn frame : condemned_) memory_.free(frame);
  condemned_.clear();
}

}  // namespace vmem::vmm
