#include "guest/page_table.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace vmem::guest {
namespace {

/// Entries that name a table permit everything; leaves decide.
std::uint64_t table_entry(Gfn table) {
  return table.address().value | kPtePresent | kPteWrite | kPteUser | kPteAccessed;
}

}  // namespace

PageTable::PageTable(hw::Vcpu& vcpu, PageAllocator& pages, int levels) : pages_(&pages), levels_(levels) {
  const auto root = new_table(vcpu);
  if (!root) throw OutOfMemory("the guest has no free frame for a process's page-table root");
  root_ = *root;
}

std::optional<Gfn> PageTable::new_table(hw::Vcpu& vcpu, Need need) {
  const auto frame = pages_->allocate(vcpu, 0, PageUse::table, need);
  if (!frame) return std::nullopt;
  vcpu.zero(frame->address(), kPageSize);
  ++frames_;
  return frame;
}

PageTable::Slot PageTable::find(hw::Vcpu& vcpu, Gva gva) const {
  Slot slot;
  Gpa table = root_.address();
  for (slot.level = levels_;; --slot.level) {
    slot.at = table + 8ull * paging::table_index(gva.value, slot.level);
    slot.entry = vcpu.load<std::uint64_t>(slot.at);
    if (!slot.present() || paging::x86_64.is_leaf(slot.entry, slot.level)) return slot;
    table = Gpa{slot.entry & paging::x86_64.address};
  }
}

bool PageTable::allows(hw::Vcpu& vcpu, Gva gva, AccessKind access) const {
  paging::Rights rights = paging::kAllRights;
  Gpa table = root_.address();
  for (int level = levels_; level >= 1; --level) {
    const auto entry = vcpu.load<std::uint64_t>(table + 8ull * paging::table_index(gva.value, level));
    if (!(entry & kPtePresent)) return false;
    rights &= paging::x86_64.rights(entry);
    if (paging::x86_64.is_leaf(entry, level)) break;
    table = Gpa{entry & paging::x86_64.address};
  }
  const paging::Rights needed = access == AccessKind::store   ? paging::kWrite
                                : access == AccessKind::fetch ? paging::kExecute
                                                              : paging::kRead;
  return (rights & (needed | paging::kUser)) == (needed | paging::kUser);
}

bool PageTable::descend(hw::Vcpu& vcpu, Slot& slot, Gva gva, PageSize size) {
  while (!slot.present() && slot.level > leaf_level(size)) {
    const auto table = new_table(vcpu);
    if (!table) return false;
    vcpu.store<std::uint64_t>(slot.at, table_entry(*table));
    --slot.level;
    slot.at = table->address() + 8ull * paging::table_index(gva.value, slot.level);
    slot.entry = 0;
  }
  return slot.level == leaf_level(size);
}

bool PageTable::make_room(hw::Vcpu& vcpu, Gva gva, PageSize size) {
  Slot slot = find(vcpu, gva);
  return descend(vcpu, slot, gva, size);
}

bool PageTable::map_from(hw::Vcpu& vcpu, Slot slot, Gva gva, PageSize size, std::uint64_t entry) {
  if (!descend(vcpu, slot, gva, size)) return false;
  vcpu.store<std::uint64_t>(slot.at, entry | (size == PageSize::k4K ? 0 : kPteLarge));
  return true;
}

PageTable::Split PageTable::split(hw::Vcpu& vcpu, const Slot& slot, Need need) {
  const auto table = new_table(vcpu, need);
  if (!table) return Split::no_memory;
  if (vcpu.load<std::uint64_t>(slot.at) != slot.entry) {  // reclaim was faster
    pages_->free(vcpu, *table, 0);
    --frames_;
    return Split::stale;
  }
  const int level = slot.level - 1;
  const std::uint64_t flags = slot.entry & ~paging::kAddressBits & ~(level == 1 ? kPteLarge : 0);
  const std::uint64_t base = paging::x86_64.target(slot.entry, slot.level);
  for (std::uint64_t i = 0; i < paging::kEntries; ++i)
    vcpu.store<std::uint64_t>(table->address() + 8 * i, (base + (i << paging::level_shift(level))) | flags);
  vcpu.store<std::uint64_t>(slot.at, table_entry(*table));
  return Split::done;
}

void PageTable::for_range(hw::Vcpu& vcpu, Gva start, Gva end, const Visit& use) const {
  visit(vcpu, root_, levels_, 0, {start.value, end.value, 0, 0}, use);
}

void PageTable::visit(hw::Vcpu& vcpu, Gfn table, int level, std::uint64_t base, const Span& span,
                      const Visit& use) const {
  const std::uint64_t step = 1ull << paging::level_shift(level);
  const std::uint64_t last = std::min(base + paging::kEntries * step, span.end);
  for (std::uint64_t at = std::max(base, align_down(span.start, step)); at < last; at += step) {
    const Slot slot{table.address() + 8ull * paging::table_index(at, level),
                    vcpu.load<std::uint64_t>(table.address() + 8ull * paging::table_index(at, level)), level};
    if (slot.entry == 0) continue;
    if (!slot.present() || paging::x86_64.is_leaf(slot.entry, level)) {
      use(Gva{at}, slot);
    } else {
      visit(vcpu, Gfn{(slot.entry & paging::x86_64.address) >> kPageShift}, level - 1, at, span, use);
    }
  }
}

bool PageTable::clear_range(hw::Vcpu& vcpu, Gva start, Gva end, Gva floor, Gva ceiling, const Visit& use) {
  const std::uint64_t before = frames_;
  clear(vcpu, root_, levels_, 0, {start.value, end.value, floor.value, ceiling.value}, use);
  return frames_ != before;
}

void PageTable::clear(hw::Vcpu& vcpu, Gfn table, int level, std::uint64_t base, const Span& span, const Visit& use) {
  const std::uint64_t step = 1ull << paging::level_shift(level);
  const std::uint64_t last = std::min(base + paging::kEntries * step, span.end);
  for (std::uint64_t at = std::max(base, align_down(span.start, step)); at < last; at += step) {
    const Slot slot{table.address() + 8ull * paging::table_index(at, level),
                    vcpu.load<std::uint64_t>(table.address() + 8ull * paging::table_index(at, level)), level};
    if (slot.entry == 0) continue;
    if (!slot.present() || paging::x86_64.is_leaf(slot.entry, level)) {
      use(Gva{at}, slot);
      vcpu.store<std::uint64_t>(slot.at, 0);
      continue;
    }
    const Gfn below = Gfn{(slot.entry & paging::x86_64.address) >> kPageShift};
    clear(vcpu, below, level - 1, at, span, use);
    if (at >= span.floor && at + step <= span.ceiling) {
      vcpu.store<std::uint64_t>(slot.at, 0);
      pages_->free(vcpu, below, 0);
      --frames_;
    }
  }
}

void PageTable::destroy(hw::Vcpu& vcpu) {
  pages_->free(vcpu, root_, 0);
  --frames_;
}

}  // namespace vmem::guest
