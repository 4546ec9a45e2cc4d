#include "guest/mappings.hpp"

#include "guest/lru.hpp"

namespace vmem::guest {

bool Mappings::is_exclusive(hw::Vcpu& vcpu, const PageTable::Slot& slot) {
  const auto page = vcpu.load<Page>(page_entry(slot.target()));
  return page.references == 1 && page.order == 9 * (slot.level - 1);
}

bool Mappings::is_own(hw::Vcpu& vcpu, const PageTable::Slot& slot, std::uint64_t frames) {
  const Gfn gfn = slot.target();
  if (gfn.value + page_frames(leaf_page_size(slot.level)) > frames) return false;
  const auto page = vcpu.load<Page>(page_entry(gfn));
  return (page.use == PageUse::anonymous || page.use == PageUse::file) && page.references != 0 &&
         page.order <= 9 * (slot.level - 1);
}

void Mappings::share(hw::Vcpu& vcpu, const PageTable::Slot& slot) {
  const Gfn gfn = slot.target();
  const int block = get<&Page::order>(vcpu, page_entry(gfn));
  for (std::uint64_t i = 0; i < 1ull << (9 * (slot.level - 1) - block); ++i) {
    const Gpa page = page_entry(gfn + (i << block));
    set<&Page::references>(vcpu, page, get<&Page::references>(vcpu, page) + 1);
  }
}

void Mappings::keep_dirty(hw::Vcpu& vcpu, const PageTable::Slot& slot) {
  if ((slot.entry & kPteDirty) == 0 || slot.level != 1) return;
  const Gpa at = page_entry(slot.target());
  const auto page = vcpu.load<Page>(at);
  // A page of a file is dirty as long as anybody may write to it.
  if ((page.flags & page_flag::kSwapCache) != 0)
    set<&Page::flags>(vcpu, at, static_cast<std::uint16_t>(page.flags | page_flag::kDirty));
}

void Mappings::drop(hw::Vcpu& vcpu, Gfn gfn, int order, std::vector<Gone>& gone) {
  const int block = get<&Page::order>(vcpu, page_entry(gfn));
  const std::uint64_t blocks = 1ull << (order - block);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const Gfn at = gfn + (i << block);
    const auto references = get<&Page::references>(vcpu, page_entry(at)) - 1;
    set<&Page::references>(vcpu, page_entry(at), references);
    if (references == 0) gone.push_back({at, block});
  }
}

bool Mappings::split(hw::Vcpu& vcpu, Process& process, Gva page, const PageTable::Slot& slot, Need need) {
  const PageTable::Split result = process.table.split(vcpu, slot, need);
  if (result != PageTable::Split::done) return result == PageTable::Split::stale;
  ++vmstat_.thp_split_pmd;
  // Cut to single frames at once; other mappers of a shared large page keep their leaf, whose references each frame
  // carries.
  const Gfn gfn = slot.target();
  const auto entry = vcpu.load<Page>(page_entry(gfn));
  if (entry.order != 0) {
    const bool listed = (entry.flags & page_flag::kLru) != 0;
    if (listed) Lru::remove(vcpu, gfn);
    Buddy::split(vcpu, gfn, entry.order);
    if (listed || entry.order > kMaxOrder)
      for (std::uint64_t i = 0; i < 1ull << entry.order; ++i) Lru::add(vcpu, gfn + i);
    ++vmstat_.thp_split_page;
    vmstat_.nr_anon_transparent_hugepages -= huge_pages(entry.order);
  }
  cpus_.shoot_down(vcpu, process, page.value, page.value + kPageSize);
  return true;
}

bool Mappings::split_at(hw::Vcpu& vcpu, Process& process, std::uint64_t address) {
  for (;;) {
    const PageTable::Slot slot = process.table.find(vcpu, Gva{address});
    if (!slot.present()) return true;
    const std::uint64_t page = align_down(address, page_bytes(leaf_page_size(slot.level)));
    if (page == address) return true;
    if (!split(vcpu, process, Gva{page}, slot)) return false;
  }
}

void Mappings::for_each(hw::Vcpu& vcpu, Gfn gfn, const Visit& visit) const {
  const auto page = vcpu.load<Page>(page_entry(gfn));
  if (page.use == PageUse::file) {
    for_each_of_file(vcpu, gfn, page, visit);
  } else {
    for_each_anonymous(vcpu, gfn, page, visit);
  }
}

void Mappings::for_each_anonymous(hw::Vcpu& vcpu, Gfn gfn, const Page& page, const Visit& visit) const {
  const Gva gva{page.index << kPageShift};
  for (Process* process : processes_.family(page.owner)) {
    const PageTable::Slot slot = process->table.find(vcpu, gva);
    if (!slot.present()) continue;
    const std::uint64_t frames = page_frames(leaf_page_size(slot.level));
    const Gfn target = slot.target();
    if (gfn < target || gfn.value >= target.value + frames) continue;
    visit(*process, Gva{align_down(gva.value, frames << kPageShift)}, slot);
  }
}

void Mappings::for_each_of_file(hw::Vcpu& vcpu, Gfn gfn, const Page& page, const Visit& visit) const {
  if (page.references == 0) return;
  for (const auto& process : processes_.all()) {
    if (!process->maps_files) continue;
    for (const auto& [start, area] : process->areas.areas()) {
      if (area.file != page.owner || page.index < area.page_at(start) || page.index >= area.page_at(area.end)) continue;
      const Gva gva{start + ((page.index - area.page_at(start)) << kPageShift)};
      const PageTable::Slot slot = process->table.find(vcpu, gva);
      if (slot.present() && slot.level == 1 && slot.target() == gfn) visit(*process, gva, slot);
    }
  }
}

bool Mappings::is_mapped(std::uint32_t file) const {
  for (const auto& process : processes_.all())
    for (const auto& [start, area] : process->areas.areas())
      if (area.file == file) return true;
  return false;
}

}  // namespace vmem::guest
